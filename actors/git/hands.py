"""Runs the operations of ``git_batch`` on this host, one after another in the thread that calls.

The host actor calls it in threads; how many run at once, and who waits for whom, is decided by the supervisor. A
failing operation fails alone: everything comes back as an ``Outcome``.
"""

from __future__ import annotations

import logging
import marshal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequestError, PhalanxError, WorkspaceError, to_wire
from actors.git import merging, reading, refs, working
from actors.git.places import find_place, read_head
from actors.git.running import Hand
from actors.git.sendable import sendable
from actors.git.sight import MOST_ENTRIES, Parts
from actors.git.values import (
    READS,
    Asked,
    Checkout,
    Commit,
    CreateRef,
    DeleteBranch,
    ListRefs,
    Merge,
    Operation,
    Outcome,
    Place,
    Read,
    ReadLog,
    ReadStatus,
    Write,
)
from actors.git.watching import Watch
from actors.workspace.branches import delete_branch, find_branch
from actors.workspace.command import GitRunner

logger = logging.getLogger(__name__)
QUICK_S = 0.5
"""So long the writes of one call go on; then the others get their turn."""
LARGEST_KEPT = 100_000
"""Bytes: the supervisor keeps many answers, and holds all of them in memory."""
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
        """Each answered, or found unchanged; the lists that are asked of one repository by one git."""
        outcomes: dict[int, Outcome] = {}
        for numbers in _alike(asked):
            begun = time.monotonic()
            try:
                made = self._lists([asked[number] for number in numbers])
            except Exception as error:  # noqa: BLE001 - as in _timed
                made = [_failed(error)] * len(numbers)
            took_s = (time.monotonic() - begun) / len(numbers)
            outcomes |= zip(numbers, _with_times(made, took_s), strict=True)
        rest = (number for number in range(len(asked)) if number not in outcomes)
        outcomes |= {number: _timed(self._read, asked[number]) for number in rest}
        return tuple(outcomes[number] for number in range(len(asked)))

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
                outcomes[number] = _failed(error)
            else:
                repositories.setdefault(hand.place.common_directory, []).append(number)
        for numbers in repositories.values():
            made = _created([(hands[asked[number].directory], asked[number].operation) for number in numbers])
            # The first one's hand makes all that is new in a repository.
            made[0] = replace(made[0], retries=hands[asked[numbers[0]].directory].retries)
            outcomes.update(zip(numbers, made, strict=True))
        took_s = (time.monotonic() - begun) / max(1, len(asked))
        return _with_times([outcomes[number] for number in range(len(asked))], took_s)

    def _hand(self, directory: Path) -> Hand:
        place = find_place(directory)
        if place is None:
            raise InvalidRequestError(f"{directory} is in no git repository: give a directory of one.")
        return Hand(self._git, place, directory, self._identity)

    def _read(self, asked: Asked) -> Outcome:
        hand, read = self._hand(asked.directory), asked.operation
        if self._holds(hand, asked):
            return Outcome(unchanged=True)
        if not isinstance(read, READS):
            raise TypeError(f"{type(read).__name__} does not only look")
        pinned = _pinned(hand, read)
        watching = self._watch.begin(hand.place, pinned, guard=asked.guard)
        result, ignored = reading.answer(hand, pinned)
        told = ignored if isinstance(read, ReadStatus) and len(ignored) <= MOST_ENTRIES else None
        if watching is None or _is_large(result) or _pinned(hand, read) != pinned:
            return Outcome(result=result, ignored=told)
        return Outcome(result=result, proof=watching.proof(ignored), ignored=told)

    def _holds(self, hand: Hand, asked: Asked, parts: Parts | None = None) -> bool:
        """What a guard is over can be told only where that guard is."""
        known = asked.known
        return known is not None and known.guard is None and self._watch.holds(hand.place, known, parts)

    def _lists(self, asked: Sequence[Asked]) -> list[Outcome]:
        """The same list for several working trees of one repository: only what is checked out tells them apart."""
        hands = [self._hand(each.directory) for each in asked]
        before: Parts = {}
        if all(self._holds(hand, each, before) for hand, each in zip(hands, asked, strict=True)):
            return [Outcome(unchanged=True)] * len(asked)
        read = asked[0].operation
        if not isinstance(read, ListRefs):
            raise TypeError("only lists of branches or tags go together")
        watchings = [self._watch.begin(hand.place, read, before) for hand in hands]
        found = reading.list_refs(hands[0], read)
        results = [reading.listed(hand, read, found) for hand in hands]
        after: Parts = {}
        is_large = _is_large(found)
        return [
            Outcome(result=result, proof=watching.proof(parts=after) if watching and not is_large else None)
            for result, watching in zip(results, watchings, strict=True)
        ]

    def _write(self, asked: Asked) -> Outcome:
        hand = self._hand(asked.directory)
        try:
            outcome = Outcome(result=_done(hand, asked.operation))
        except merging.MergeConflictError as conflict:
            outcome = Outcome(error=to_wire(conflict), result={"conflicts": conflict.files})
        except Exception as error:  # noqa: BLE001 - as in _timed
            outcome = _failed(error)
        return replace(outcome, retries=hand.retries)


def _alike(asked: Sequence[Asked]) -> Iterator[list[int]]:
    """The numbers of the lists that one git can make."""
    groups: dict[tuple[Operation, Path], list[int]] = {}
    for number, each in enumerate(asked):
        if isinstance(each.operation, ListRefs) and (place := _place(each.directory)) is not None:
            groups.setdefault((each.operation, place.common_directory), []).append(number)
    yield from groups.values()


def _pinned(hand: Hand, read: Read) -> Read:
    """A log of HEAD as that of the commit which HEAD is at, where that is seen without git: it never changes."""
    if not isinstance(read, ReadLog) or read.revision is not None:
        return read
    return replace(read, revision=read_head(hand.place).commit)


def _is_large(result: Any) -> bool:
    return len(marshal.dumps(result)) > LARGEST_KEPT


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
        return [_failed(error) for _ in creations]


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
        outcome = _failed(error)
    return _with_time(outcome, time.monotonic() - begun)


def _failed(error: Exception) -> Outcome:
    """Of the operation that failed, and of no other."""
    if isinstance(error, PhalanxError):
        return Outcome.refused(error)
    if isinstance(error, OSError):
        return Outcome.refused(
            WorkspaceError(f"The file system refused: {error}. See to its permissions and room, then try again.")
        )
    logger.error("a git operation failed", exc_info=error)
    return Outcome.refused(PhalanxError("An error in Phalanx: see the logs of this host."))


def _with_times(outcomes: Sequence[Outcome], took_s: float) -> list[Outcome]:
    return [_with_time(outcome, took_s) for outcome in outcomes]


def _with_time(outcome: Outcome, took_s: float) -> Outcome:
    return replace(outcome, result=sendable(outcome.result), error=sendable(outcome.error), took_s=took_s)
