"""Makes branches and tags: any number in one transaction of git, which is what makes many of them cheap.

git takes a transaction whole or not at all. So what cannot be made is found first, and when git refuses all the same
(somebody else was quicker, a name stands in the way of another) each is made by itself and the refused fail alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.errors import InvalidRequestError, PhalanxError, WorkspaceError
from actors.git.running import Hand, refusal
from actors.git.values import CreateRef, Outcome

_MISSING = {"missing", "ambiguous"}
Creation = tuple[Hand, CreateRef]


def create(creations: Sequence[Creation]) -> list[Outcome]:
    """All in one repository, with different names; outcomes in the order given."""
    try:
        found = _look_up(creations)
    except PhalanxError as error:
        return [Outcome.refused(error) for _ in creations]
    planned = [_planned(creation, *about) for (_, creation), about in zip(creations, found, strict=True)]
    free = [
        (hand, creation, commit)
        for (hand, creation), commit in zip(creations, planned, strict=True)
        if isinstance(commit, str)
    ]
    refused = _made(free)
    return [
        Outcome.refused(commit) if isinstance(commit, PhalanxError) else _outcome(creation, commit, refused)
        for (_, creation), commit in zip(creations, planned, strict=True)
    ]


def _outcome(creation: CreateRef, commit: str, refused: dict[str, WorkspaceError]) -> Outcome:
    if creation.ref in refused:
        return Outcome.refused(refused[creation.ref])
    return Outcome(result={creation.kind: creation.name, "commit": commit, "created": True})


def _look_up(creations: Sequence[Creation]) -> list[tuple[str | None, bool]]:
    """For each what it starts at (None: there is no such commit) and whether its name is free; one git for all.

    HEAD is another one in each working tree, so starts are looked up as a working tree sees them.
    """
    found: dict[int, tuple[str | None, bool]] = {}
    trees = {str(hand.place.git_directory): hand for hand, _ in creations}
    for tree, hand in trees.items():
        mine = [(n, creation) for n, (of, creation) in enumerate(creations) if str(of.place.git_directory) == tree]
        lines = [line for _, creation in mine for line in (_start(creation), creation.ref)]
        told = hand.told("cat-file", "--batch-check=%(objectname)", stdin="".join(f"{x}\n" for x in lines).encode())
        answers = [line.rpartition(" ")[2] for line in told.splitlines()]
        for place, (number, _) in enumerate(mine):
            start, name = answers[2 * place : 2 * place + 2]
            found[number] = (None if start in _MISSING else start, name in _MISSING)
    return [found[number] for number in range(len(creations))]


def _start(creation: CreateRef) -> str:
    start = creation.start or "HEAD"
    return start if creation.kind == "tag" else f"{start}^{{commit}}"


def _planned(creation: CreateRef, commit: str | None, is_free: bool) -> str | WorkspaceError | InvalidRequestError:
    if commit is None:
        start = creation.start or "HEAD"
        return InvalidRequestError(f"There is no commit {start!r} to start from: correct it, or make a first commit.")
    if not is_free:
        return WorkspaceError(f"The {creation.kind} {creation.name} is there already: choose another name.")
    return commit


def _made(free: Sequence[tuple[Hand, CreateRef, str]]) -> dict[str, WorkspaceError]:
    """Makes them; those that git refused, by ref."""
    if not free:
        return {}
    hand = free[0][0]
    steps = "".join(f"create {creation.ref}\0{commit}\0" for _, creation, commit in free)
    command = (f"--git-dir={hand.place.common_directory}", "update-ref", "-m", "branch: Created by phalanx")
    answer = hand.act(hand.place.common_directory, *command, "--stdin", "-z", stdin=steps.encode())
    if answer.ok:
        return {}
    if len(free) == 1:
        return {free[0][1].ref: refusal(answer)}
    return {ref: error for each in free for ref, error in _made([each]).items()}
