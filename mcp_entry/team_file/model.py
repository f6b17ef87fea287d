"""A file of a team: its form, how it is read, and the spawn requests that it makes. docs/team-file.md is for people.

``load`` reads the file once, with the texts that it names, so what is shown, allowed and started is the same. A member
takes every argument of ``spawn`` by its name there, because its model is made of the fields of ``SpawnRequest``; only
the texts, the parent and the directory are given in the file's own way. Faults name the line of the file. Raises
``InvalidRequestError``.

YAML is read without tags, anchors and repeated keys: with the first a file could make objects, with the others it could
be huge, or say something else than a person reads in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, create_model

from actors.errors import InvalidRequestError
from supervisor.api.requests import (
    MAX_MESSAGE_BYTES,
    MAX_SPAWN_BATCH_MEMBERS,
    InstanceId,
    RelativePath,
    Request,
    Role,
    SpawnRequest,
    looks_like_an_id,
)
from supervisor.api.validation import bounded, located_faults
from supervisor.team.registry import PARENT_ROLES

MAX_FILE_BYTES = 4_000_000
_OWN_WAY = {"name", "role", "parent_id", "context", "work_dir", "request_id"}
"""The arguments of ``spawn`` that a member of a file does not take as they are."""
_OF_ONE = {"name", "parent", "context", "promptFile"}
"""What cannot be a default."""
Place = tuple[int | str, ...]


class MemberForm(Request):
    name: InstanceId = Field(description="By which the member is known in this file and in the team.")
    role: Role = Field(description="executive, over managers, over specialists, who do the work.")
    parent: InstanceId | None = Field(default=None, description="The name of the member of this file that leads it.")
    context: str | None = Field(default=None, min_length=1, description="Its first message: the whole task.")
    prompt_file: RelativePath | None = Field(
        default=None, description="Or the file that holds it, below the directory of this file."
    )
    work_dir: str = Field(
        default=".", min_length=1, max_length=4096, description="Where it works; relative to this file's directory."
    )


_OF_SPAWN: dict[str, Any] = {
    name: (field.annotation, copy(field)) for name, field in SpawnRequest.model_fields.items() if name not in _OWN_WAY
}
MemberOfFile: type[MemberForm] = create_model("MemberOfFile", __base__=MemberForm, **_OF_SPAWN)


class TeamForm(Request):
    members: list[MemberOfFile] = Field(min_length=1, max_length=MAX_SPAWN_BATCH_MEMBERS)  # type: ignore[valid-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMember:
    name: str
    parent: str | None
    request: SpawnRequest | None
    """None when it cannot be started: then ``why_not`` says why."""
    why_not: str
    compared: SpawnRequest
    """As ``request``, without text and name: what it is compared by with what runs."""
    given: Mapping[str, Any]
    """Its arguments as they stand in the file, by their names there; with the defaults."""


@dataclass(frozen=True, kw_only=True)
class TeamFile:
    path: Path
    members: Sequence[FileMember]
    content: bytes
    texts: Mapping[str, bytes]
    """The contents of the files that it names, by their paths in it."""

    @cached_property
    def digest(self) -> str:
        """Of the file with the texts that it names and the directories that it means now: at another place these are
        others, and a link may lead elsewhere by now."""
        parts = [os.fsencode(self.path), self.content]
        parts += [os.fsencode(member.compared.work_dir) for member in self.members]
        for name, text in sorted(self.texts.items()):
            parts += [name.encode(), text]
        whole = hashlib.sha256()
        for part in parts:
            whole.update(len(part).to_bytes(8, "big") + part)
        return whole.hexdigest()

    def levels(self) -> Iterator[Sequence[FileMember]]:
        """The members, parents before those they lead."""
        left, known = list(self.members), set[str]()
        while left:
            level = [member for member in left if member.parent is None or member.parent in known]
            known |= {member.name for member in level}
            left = [member for member in left if member.name not in known]
            yield level


def load(path: Path) -> TeamFile:
    """The file with the texts that it names, all of it checked."""
    path = path.absolute()
    content = _read(path, path, MAX_FILE_BYTES)
    reading = _Reading(path, content)
    forms = reading.members()
    texts = {
        form.prompt_file: reading.text(form.prompt_file, ("members", number, "promptFile"))
        for number, form in enumerate(forms)
        if form.prompt_file is not None
    }
    members = [reading.member(number, form, texts) for number, form in enumerate(forms)]
    reading.check()
    return TeamFile(path=path, members=members, content=content, texts=texts)


def json_schema() -> dict[str, Any]:
    """For editors."""
    schema = TeamForm.model_json_schema()
    member = schema["$defs"]["MemberOfFile"]
    optional = {name: of for name, of in member["properties"].items() if name not in _OF_ONE}
    schema["$defs"]["Defaults"] = {**member, "properties": optional, "required": [], "title": "Defaults"}
    schema["properties"] = {"defaults": {"$ref": "#/$defs/Defaults"}, **schema["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A team of Phalanx"}


_YAML_FAULTS = (
    (r"<stream end>|unexpected end of stream", "a bracket or quotation mark is not closed"),
    (r"<block (end|mapping start|sequence start)>", "this line is not indented as those that it belongs to"),
    (r"mapping values are not allowed", "a second colon stands here: put the text in quotes, or indent it anew"),
    (r"could not find expected ':'", "a name without a colon after it"),
    (r"found character '\\t'", "a tab stands here: indent with spaces"),
)
"""What the parser says, by a part of it, in words that tell what to do."""


def _yaml_fault(error: yaml.MarkedYAMLError) -> str:
    said = error.problem or "it cannot be read"
    words = next((words for part, words in _YAML_FAULTS if re.search(part, said)), said)
    begun = error.context_mark.line + 1 if error.context_mark else 0
    since = f" (what it is part of begins in line {begun})" if words != said and begun else ""
    return f"{words}{since}"


class _Reading:
    """Reads one file and gathers its faults, each with its line."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._lines: dict[Place, int] = {}
        self._nodes: set[yaml.Node] = set()
        self._faults: dict[tuple[int, str], str] = {}
        """By line and words, so that what is wrong in the defaults is told once."""
        self._defaults: dict[str, Any] = {}
        self._given = self._parsed(content)

    def _parsed(self, content: bytes) -> dict[str, Any]:
        try:
            text = content.decode("utf-8")
            loader = yaml.SafeLoader(text)
            try:
                node = loader.get_single_node()
                given = self._value(loader, node, ()) if node is not None else None
            finally:
                loader.dispose()
        except UnicodeDecodeError as error:
            raise InvalidRequestError(f"{self._path} is not valid UTF-8 at byte {error.start}.") from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise InvalidRequestError(f"{self._path}:{line}: this is no YAML: {_yaml_fault(error)}.") from error
        except (yaml.YAMLError, ValueError) as error:
            raise InvalidRequestError(f"{self._path} is no YAML: {error}") from error
        except RecursionError:
            raise InvalidRequestError(f"{self._path} is nested too deeply.") from None
        if not isinstance(given, dict):
            raise InvalidRequestError(f"{self._path} holds no team: it needs a list of members, see docs/team-file.md.")
        return given

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        if place in self._lines:
            raise InvalidRequestError(f"{self._path}:{line}: {_path_of(place)} is given twice.")
        self._lines[place] = line
        if node in self._nodes:
            raise InvalidRequestError(
                f"{self._path}:{line}: {_path_of(place)} repeats another part by an anchor: use defaults, or write it "
                "out."
            )
        self._nodes.add(node)
        if isinstance(node, yaml.MappingNode):
            return {key: self._value(loader, value, (*place, key)) for key, value in self._pairs(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, each, (*place, number)) for number, each in enumerate(node.value)]
        return loader.construct_object(node)

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidRequestError(f"{self._path}:{key.start_mark.line + 1}: a name is needed here.")
            yield key.value, value

    def _read_defaults(self) -> None:
        defaults = self._given.pop("defaults", None) or {}
        if isinstance(defaults, dict):
            self._defaults = defaults
        else:
            self._fault(("defaults",), "defaults must be an object with named arguments")
        for name in self._defaults.keys() & _OF_ONE:
            self._fault(("defaults", name), f"defaults.{name} is no default: each member has its own")
        self.check()

    def members(self) -> Sequence[MemberForm]:
        self._read_defaults()
        members = self._given.get("members")
        if isinstance(members, list):
            merged = [{**self._defaults, **one} if isinstance(one, dict) else one for one in members]
            self._given["members"] = merged
        try:
            form = TeamForm.model_validate(self._given, by_alias=True, by_name=False)
        except ValidationError as error:
            for place, fault in located_faults(TeamForm, error):
                self._fault(place, fault)
            raise self._refusal() from None
        self._check_tree(form.members)
        self.check()
        return form.members

    def _check_tree(self, forms: Sequence[MemberForm]) -> None:
        known: dict[str, MemberForm] = {}
        for number, form in enumerate(forms):
            if form.name in known:
                self._fault(("members", number, "name"), f"the name {form.name} is given twice")
            known[form.name] = form
        for number, form in enumerate(forms):
            place = ("members", number, "parent")
            parent = known.get(form.parent) if form.parent is not None else None
            if form.context is not None and form.prompt_file is not None:
                self._fault(("members", number, "promptFile"), f"{form.name} has both context and promptFile")
            if form.parent is not None and parent is None:
                self._fault(place, f"no member of this file has the name {form.parent}")
            if parent is not None and parent.role not in PARENT_ROLES[form.role]:
                leaders = " or ".join(sorted(PARENT_ROLES[form.role])) or "nobody"
                self._fault(place, f"{parent.name} is a {parent.role}; a {form.role} is led by {leaders}")

    def text(self, name: str, place: Place) -> bytes:
        """The content of a file that the file names. Links must not lead out of the file's directory."""
        directory = self._path.parent.resolve()
        try:
            real = (directory / name).resolve()
            if not real.is_relative_to(directory):
                self._fault(place, f"{name} leads out of {directory}")
                return b""
            content = _read(real, real, MAX_MESSAGE_BYTES)
            content.decode("utf-8")
        except (InvalidRequestError, RuntimeError) as error:
            self._fault(place, str(error).rstrip("."))
        except UnicodeDecodeError as error:
            self._fault(place, f"{name} is not valid UTF-8 at byte {error.start}")
        else:
            if not content.strip():
                self._fault(place, f"{name} is empty")
            return content
        return b""

    def member(self, number: int, form: MemberForm, texts: Mapping[str, bytes]) -> FileMember:
        text = texts[form.prompt_file].decode("utf-8", "replace") if form.prompt_file is not None else form.context
        work_dir = os.path.realpath(self._path.parent / Path(form.work_dir).expanduser())
        own = form.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=set(MemberForm.model_fields))
        arguments = {**own, "role": form.role, "workDir": work_dir, "parentId": form.parent}
        compared = self._request(number, {**arguments, "context": text or "-"})
        request, why_not = None, ""
        if looks_like_an_id(form.name):
            why_not = "this is the id of an instance that had no name: give it a name, by which it can be started"
        elif not text and form.role is not Role.EXECUTIVE:
            why_not = "the file does not say what it is to do: give it context or promptFile"
        else:
            request = self._request(number, {**arguments, "context": text or "", "name": form.name})
        return FileMember(
            name=form.name,
            parent=form.parent,
            request=request,
            why_not=why_not,
            compared=compared,
            given=self._given["members"][number],
        )

    def _request(self, number: int, arguments: dict[str, Any]) -> SpawnRequest:
        try:
            return SpawnRequest.model_validate(arguments)
        except ValidationError as error:
            for place, fault in located_faults(SpawnRequest, error):
                self._fault(("members", number, *place), f"members[{number}]: {fault}")
            return SpawnRequest(role=arguments["role"], work_dir=arguments["workDir"], context="-")

    def _fault(self, place: Place, words: str) -> None:
        line = self._line(place)
        self._faults.setdefault((line, words.partition(" ")[2]), f"line {line}: {words.rstrip('.')}.")

    def _line(self, place: Place) -> int:
        """Of the innermost part of the place that stands in the file, or else in its defaults."""
        if place[:1] == ("members",) and len(place) > 2 and place[:3] not in self._lines:
            in_defaults = ("defaults", *place[2:])
            if in_defaults[:2] in self._lines:
                place = in_defaults
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def check(self) -> None:
        """Raises ``InvalidRequestError`` when there are faults."""
        if self._faults:
            raise self._refusal()

    def _refusal(self) -> InvalidRequestError:
        lines = bounded([self._faults[key] for key in sorted(self._faults)])
        return InvalidRequestError("\n".join([f"Nothing was done, {self._path} is wrong:", *lines]))


def _read(path: Path, shown: Path, most_bytes: int) -> bytes:
    try:
        # Without waiting for who writes to a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidRequestError(f"{shown} is no file.")
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise InvalidRequestError(f"{shown} cannot be read: {error.strerror}.") from error
    if len(content) > most_bytes:
        raise InvalidRequestError(f"{shown} has more than {most_bytes // 1_000_000} MB: make it shorter.")
    return content


def _path_of(place: Place) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
