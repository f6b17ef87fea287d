"""What each type of ``git_batch`` takes in ``params``, checked before git sees it, and the operation that it means.

No name, revision or file that a caller gives can become an option or a line of its own. The rules for names are those
of ``git check-ref-format``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from actors.errors import InvalidRequestError
from actors.git import model as values
from supervisor.api.requests import GitOperation, GitType, Request
from supervisor.api.validation import parse

_NOT_IN_NAMES = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)")
_NOT_IN_REVISIONS = re.compile(r"[\x00-\x1f\x7f]")


def check_name(name: str) -> str:
    """A branch's or tag's. Raises ``ValueError``."""
    if _NOT_IN_NAMES.search(name) or name.startswith(("-", "/", ".")) or name.endswith(("/", ".")):
        raise ValueError("git allows no such name")
    if name in ("@", "HEAD"):
        raise ValueError("that name means something else to git")
    if _has_surrogates(name):
        raise ValueError("git takes valid text only")
    return name


def check_revision(revision: str) -> str:
    """Whatever git takes for a commit. Raises ``ValueError``."""
    if revision.startswith("-") or _NOT_IN_REVISIONS.search(revision) or _has_surrogates(revision):
        raise ValueError("that is no name of a commit")
    return revision


def check_file(name: str) -> str:
    """Relative to the directory of the operation. Raises ``ValueError``."""
    if "\0" in name or _has_surrogates(name):
        raise ValueError("that is no name of a file")
    return name


def base_of(revision: str) -> str:
    """The name that a revision begins with: of ``main~2`` it is ``main``."""
    return re.split(r"[~^@:]", revision, maxsplit=1)[0]


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


RefName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(check_name)]
Revision = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(check_revision)]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(check_file)]
Files = Annotated[list[FileName], Field(default_factory=list, max_length=1000)]
Message = Annotated[str, StringConstraints(max_length=100_000, pattern=r"[^\s\x00]")]


class Params(Request):
    @abstractmethod
    def operation(self) -> values.Operation: ...


class StatusParams(Params):
    def operation(self) -> values.Operation:
        return values.ReadStatus()


class BranchParams(Params):
    action: Literal["create", "list", "delete"] | None = Field(
        default=None, description="By default create when there is a branchName, else list."
    )
    branch_name: RefName | None = None
    start_point: Revision | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _check_pair(self.action, self.branch_name, "branchName", self.start_point, "startPoint")
        return self

    def operation(self) -> values.Operation:
        if self.branch_name is None:
            return values.ListRefs(kind="branch")
        if self.action == "delete":
            return values.DeleteBranch(name=self.branch_name)
        return values.CreateRef(kind="branch", name=self.branch_name, start=self.start_point)


class TagParams(Params):
    action: Literal["create", "list"] | None = Field(
        default=None, description="By default create when there is a tagName, else list."
    )
    tag_name: RefName | None = None
    target: Revision | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _check_pair(self.action, self.tag_name, "tagName", self.target, "target")
        return self

    def operation(self) -> values.Operation:
        if self.tag_name is None:
            return values.ListRefs(kind="tag")
        return values.CreateRef(kind="tag", name=self.tag_name, start=self.target)


class CheckoutParams(Params):
    branch_name: RefName
    create: bool = False
    start_point: Revision | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.start_point is not None and not self.create:
            raise PydanticCustomError("together", "startPoint is for create true only")
        return self

    def operation(self) -> values.Operation:
        return values.Checkout(branch=self.branch_name, create=self.create, start=self.start_point)


class CommitParams(Params):
    message: Message = Field(description="It must not be empty.")
    files: Files
    all: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.files and self.all:
            raise PydanticCustomError("together", "give files, or all true, not both")
        return self

    def operation(self) -> values.Operation:
        return values.Commit(message=self.message, files=tuple(self.files), everything=self.all)


class MergeParams(Params):
    branch_name: Revision
    message: Message | None = Field(default=None, description="It must not be empty.")
    dry_run: bool = False

    def operation(self) -> values.Operation:
        if self.dry_run:
            return values.PredictMerge(branch=self.branch_name)
        return values.Merge(branch=self.branch_name, message=self.message)


class DiffParams(Params):
    base: Revision | None = None
    head: Revision | None = None
    staged: bool = False
    files: Files

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.head is not None and (self.base is None or self.staged):
            raise PydanticCustomError("together", "head needs a base, and no staged")
        return self

    def operation(self) -> values.Operation:
        return values.ReadDiff(base=self.base, head=self.head, staged=self.staged, files=tuple(self.files))


class LogParams(Params):
    ref: Revision | None = None
    max_count: int = Field(default=20, ge=1, le=1000)
    files: Files

    def operation(self) -> values.Operation:
        return values.ReadLog(revision=self.ref, limit=self.max_count, files=tuple(self.files))


class WorktreeParams(Params):
    action: Literal["list"] = "list"

    def operation(self) -> values.Operation:
        return values.ListWorktrees()


PARAMS: Mapping[GitType, type[Params]] = MappingProxyType(
    {
        "status": StatusParams,
        "branch": BranchParams,
        "tag": TagParams,
        "checkout": CheckoutParams,
        "commit": CommitParams,
        "merge": MergeParams,
        "diff": DiffParams,
        "log": LogParams,
        "worktree": WorktreeParams,
    }
)


def operation_of(asked: GitOperation) -> values.Operation:
    """What the caller wants. Raises ``InvalidRequestError`` that names every fault in ``params``."""
    model = PARAMS[asked.type]
    names = {*asked.params, *(field.alias or name for name, field in model.model_fields.items())}
    return parse(model, asked.params, {name: f"params.{name}" for name in names}).operation()


def type_of(operation: values.Operation) -> GitType:
    """The type of ``git_batch`` that asks for it."""
    match operation:
        case values.ListRefs(kind=kind) | values.CreateRef(kind=kind):
            return kind
        case _:
            return _TYPES[type(operation)]


_TYPES: Mapping[type[values.Operation], GitType] = MappingProxyType(
    {
        values.ReadStatus: "status",
        values.ReadLog: "log",
        values.ReadDiff: "diff",
        values.ListWorktrees: "worktree",
        values.PredictMerge: "merge",
        values.DeleteBranch: "branch",
        values.Checkout: "checkout",
        values.Commit: "commit",
        values.Merge: "merge",
    }
)


def _check_pair(action: str | None, name: str | None, name_field: str, start: str | None, start_field: str) -> None:
    """Raises what pydantic tells when the action and the fields do not fit."""
    if action == "list" and name is not None:
        raise PydanticCustomError("together", f"list takes no {name_field}")
    if action in ("create", "delete") and name is None:
        raise PydanticCustomError("together", f"{action} needs a {name_field}")
    if start is not None and (name is None or action == "delete"):
        raise PydanticCustomError("together", f"{start_field} is for create only")


def branch_named(name: str | None, argument: str) -> str | None:
    """The name of a branch that a call gives as ``argument``. Raises ``InvalidRequestError``."""
    if name is None:
        return None
    try:
        return check_name(name)
    except ValueError as error:
        raise InvalidRequestError(f"{argument} cannot be {name!r}: {error}. Give the name of a branch.") from None
