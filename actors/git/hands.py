"""Runs the operations of ``git_batch`` on this host, one after another in the thread that calls.

The host actor calls it in threads; how many run at once, and who waits for whom, is decided by the supervisor. A
failing operation fails alone: everything comes back as an ``Outcome``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequestError, to_wire
from actors.git import merging, refs, working
from actors.git.answering import Answering
from actors.git.outcomes import failed, with_time, with_times
from actors.git.places import find_place
from actors.git.running import Hand
from actors.git.values import (
    Asked,
    Checkout,
    Commit,
    CreateRef,
    DeleteBranch,
    Merge,
    Operation,
    Outcome,
    Place,
    Read,
    Write,
)
from actors.git.watching import Watch
from actors.workspace.branches import delete_branch, find_branch
from actors.workspace.command import GitRunner

QUICK_S = 0.5
"""So long the writes of one call go on; then the others get their turn."""
_IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


class GitHands:
    """Holds nothing between calls and may be used from several threads. ``environment`` is the agents'."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._git = GitRunner(environment)
        self._watch = Watch(environment)
        self._identity = {name: environment[name] for name in _IDENTITY if name in environment}

    def places(self, directories: Sequence[Path]) -> tuple[Place | None, ...]:
        return tuple(map(_place, directories))

    def read(self, asked: Sequence[Asked]) -> tuple[Outcome, ...]:
        """Each answered, or found unchanged."""
        return Answering(self._watch, self._hand).answer(asked)

    def write(self, asked: Sequence[Asked]) -> tuple[Outcome | None, ...]:
        """New branches and tags first, those of a repository in one transaction; then all else one after another.

        What was not begun because the others took their time is None.
        """
        begun = time.monotonic()
        creations = [number for number, each in enumerate(asked) if isinstance(each.operation, CreateRef)]
        outcomes: dict[int, Outcome] = dict(zip(creations, self._create([asked[n] for n in creations]), strict=True))
        for number, each in enumerate(asked):
            if number not in outcomes and (not outcomes or time.monotonic() - begun < QUICK_S):
                outcomes[number] = _timed(self._write, each)
        return tuple(outcomes.get(number) for number in range(len(asked)))

    def _create(self, asked: Sequence[Asked]) -> list[Outcome]:
        begun = time.monotonic()
        outcomes: dict[int, Outcome] = {}
        repositories: dict[Path, list[int]] = {}
        hands: dict[Path, Hand] = {}
        for number, each in enumerate(asked):
            try:
                hand = hands.get(each.directory) or hands.setdefault(each.directory, self._hand(each.directory))
            except Exception as error:  # noqa: BLE001 - as in _timed
                outcomes[number] = failed(error)
            else:
                repositories.setdefault(hand.place.common_directory, []).append(number)
        for numbers in repositories.values():
            made = _created([(hands[asked[number].directory], asked[number].operation) for number in numbers])
            # The first one's hand makes all that is new in a repository.
            made[0] = replace(made[0], retries=hands[asked[numbers[0]].directory].retries)
            outcomes.update(zip(numbers, made, strict=True))
        took_s = (time.monotonic() - begun) / max(1, len(asked))
        return with_times([outcomes[number] for number in range(len(asked))], took_s)

    def _hand(self, directory: Path) -> Hand:
        place = find_place(directory)
        if place is None:
            raise InvalidRequestError(f"{directory} is in no git repository: give a directory of one.")
        return Hand(self._git, place, directory, self._identity)

    def _write(self, asked: Asked) -> Outcome:
        hand = self._hand(asked.directory)
        try:
            outcome = Outcome(result=_done(hand, asked.operation))
        except merging.MergeConflictError as conflict:
            outcome = Outcome(error=to_wire(conflict), result={"conflicts": conflict.files})
        except Exception as error:  # noqa: BLE001 - as in _timed
            outcome = failed(error)
        return replace(outcome, retries=hand.retries)


def _place(directory: Path) -> Place | None:
    """None also when it may not be looked at: then whoever works there is told so."""
    try:
        return find_place(directory)
    except OSError:
        return None


def _created(wanted: Sequence[tuple[Hand, Operation]]) -> list[Outcome]:
    creations = [(hand, operation) for hand, operation in wanted if isinstance(operation, CreateRef)]
    if len(creations) < len(wanted):
        raise TypeError("only new branches and tags go together")
    try:
        return refs.create(creations)
    except Exception as error:  # noqa: BLE001 - as in _timed
        return [failed(error) for _ in creations]


def _done(hand: Hand, operation: Read | Write) -> dict[str, Any]:
    match operation:
        case Checkout():
            return working.checkout(hand, operation)
        case Commit():
            return working.commit(hand, operation)
        case Merge():
            return merging.merge(hand, operation.branch, operation.message)
        case DeleteBranch():
            return _delete_branch(hand, operation.name)
        case _:
            raise TypeError(f"{type(operation).__name__} is no write that stands by itself")


def _delete_branch(hand: Hand, name: str) -> dict[str, Any]:
    repository = hand.place.common_directory
    branch = find_branch(hand.git, repository, name)
    if branch is None:
        raise InvalidRequestError(f"There is no branch {name!r} to delete.")
    kept = delete_branch(hand.git, repository, name)
    if kept is not None:
        raise InvalidRequestError(kept)
    return {"branch": name, "commit": branch.target, "deleted": True}


def _timed(run: Any, asked: Asked) -> Outcome:
    begun = time.monotonic()
    try:
        outcome: Outcome = run(asked)
    except Exception as error:  # noqa: BLE001 - other callers' operations go in the same call
        outcome = failed(error)
    return with_time(outcome, time.monotonic() - begun)
