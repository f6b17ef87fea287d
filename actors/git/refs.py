"""Makes branches and tags: any number in one transaction of git, which is what makes many of them cheap.

git takes a transaction whole or not at all. So when it refuses one, those whose names are taken are left out, and if
that was not the reason (a name stands in the way of another) each is made by itself: the refused fail alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.places import read_head
from actors.git.running import Hand, refusal
from actors.git.values import CreateRef, Outcome

_UNKNOWN = {"missing", "ambiguous"}


@dataclass(frozen=True, slots=True)
class _Planned:
    creation: CreateRef
    commit: str


def create(creations: Sequence[tuple[Hand, CreateRef]]) -> list[Outcome]:
    """All in one repository, with different names; outcomes in the order given. Raises ``WorkspaceError``."""
    starts = _find_starts(creations)
    planned = {
        creation.ref: _Planned(creation, commit)
        for hand, creation in creations
        if (commit := starts[hand, creation.start, creation.kind]) is not None
    }
    refused = _make(creations[0][0], list(planned.values())) if planned else {}
    return [_outcome(creation, planned.get(creation.ref), refused.get(creation.ref)) for _, creation in creations]


def _outcome(creation: CreateRef, planned: _Planned | None, refused: WorkspaceError | None) -> Outcome:
    if planned is None:
        start = creation.start or "HEAD"
        return Outcome.refused(
            InvalidRequestError(f"There is no commit {start!r} to start from: correct it, or make a first commit.")
        )
    if refused is not None:
        return Outcome.refused(refused)
    return Outcome(result={creation.kind: creation.name, "commit": planned.commit, "created": True})


_Start = tuple[Hand, str | None, str]
"""HEAD is another one in each working tree; a tag may be of what is no commit."""


def _find_starts(creations: Iterable[tuple[Hand, CreateRef]]) -> dict[_Start, str | None]:
    """What each starts at; None: there is no such commit. git is asked once for all of a working tree, if need be."""
    found: dict[_Start, str | None] = {}
    unknown: dict[Hand, list[_Start]] = {}
    for hand, creation in creations:
        start = (hand, creation.start, creation.kind)
        if start in found:
            continue
        found[start] = read_head(hand.place).commit if creation.start is None else None
        if found[start] is None:
            unknown.setdefault(hand, []).append(start)
    for hand, starts in unknown.items():
        names = [(start or "HEAD") + ("^{commit}" if kind == "branch" else "") for _, start, kind in starts]
        found.update(zip(starts, _look_up(hand, names), strict=True))
    return found


def _look_up(hand: Hand, names: Sequence[str]) -> list[str | None]:
    """The hash that each name stands for."""
    told = hand.told("cat-file", "--batch-check=%(objectname)", stdin="".join(f"{name}\n" for name in names).encode())
    words = [line.rpartition(" ")[2] for line in told.split("\n")[:-1]]
    return [None if word in _UNKNOWN else word for word in words]


def _make(hand: Hand, planned: Sequence[_Planned]) -> dict[str, WorkspaceError]:
    """Makes them; those that git refused, by ref."""
    error = _try_all(hand, planned)
    if error is None:
        return {}
    names = _look_up(hand, [each.creation.ref for each in planned])
    refused: dict[str, WorkspaceError] = {}
    free = []
    for each, taken in zip(planned, names, strict=True):
        if taken is None:
            free.append(each)
        else:
            kind, name = each.creation.kind, each.creation.name
            refused[each.creation.ref] = WorkspaceError(f"The {kind} {name} is there already: choose another name.")
    if not free or (refused and _try_all(hand, free) is None):
        return refused
    if len(free) == len(planned) == 1:
        return {free[0].creation.ref: error}
    for each in free:
        alone = _try_all(hand, [each])
        if alone is not None:
            refused[each.creation.ref] = alone
    return refused


def _try_all(hand: Hand, planned: Sequence[_Planned]) -> WorkspaceError | None:
    """Why git made none of them; None when it made all."""
    repository = hand.place.common_directory
    steps = "".join(f"create {each.creation.ref}\0{each.commit}\0" for each in planned)
    command = (f"--git-dir={repository}", "update-ref", "-m", "branch: Created by phalanx", "--stdin", "-z")
    answer = hand.act(repository, *command, stdin=steps.encode())
    return None if answer.ok else refusal(answer)
