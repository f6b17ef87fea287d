"""Answers what only looks: all that one call of the host asks for, in three steps.

First all is looked at that the answers depend on, then git is asked, then all is looked at once more; so what several
answers have in common is looked at twice in all. What one git can tell is asked of one: the lists of a repository, and
the logs of its commits. ``hands`` makes an ``Answering`` for each call.
"""

from __future__ import annotations

import marshal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from actors.git import reading
from actors.git.logs import tell_logs
from actors.git.outcomes import failed, with_time
from actors.git.places import read_head
from actors.git.running import Hand
from actors.git.sight import MOST_ENTRIES, Parts
from actors.git.values import READS, Asked, ListRefs, Outcome, Read, ReadLog, ReadStatus
from actors.git.watching import Watch, Watching

LARGEST_KEPT = 100_000
"""Bytes: the supervisor keeps many answers, and holds all of them in memory."""


@dataclass(eq=False, slots=True)
class _Question:
    """``read`` is what git is asked: a log of HEAD as that of the commit which HEAD is at, where that is seen without
    git, because it never changes."""

    asked: Asked
    hand: Hand
    read: Read
    watching: Watching | None = None
    result: dict[str, Any] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    outcome: Outcome | None = None
    took_s: float = 0.0


class Answering:
    def __init__(self, watch: Watch, hand_of: Callable[[Path], Hand]) -> None:
        self._watch = watch
        self._hand_of = hand_of
        self._hands: dict[Path, Hand] = {}
        self._since_ns = time.time_ns()
        self._before: Parts = {}
        self._after: Parts = {}

    def answer(self, asked: Sequence[Asked]) -> tuple[Outcome, ...]:
        """Each answered, or found unchanged; one that fails fails alone."""
        begun = [self._begin(each) for each in asked]
        questions = [each for each in begun if isinstance(each, _Question)]
        for together in _groups(questions):
            _ask(together)
        for question in questions:
            with _own(question):
                question.outcome = question.outcome or self._told(question)
        return tuple(each if isinstance(each, Outcome) else _outcome(each) for each in begun)

    def _begin(self, asked: Asked) -> _Question | Outcome:
        begun = time.monotonic()
        try:
            question = self._looked_at(asked)
        except Exception as error:  # noqa: BLE001 - as in _own
            question = failed(error)
        took_s = time.monotonic() - begun
        if isinstance(question, Outcome):
            return with_time(question, took_s)
        question.took_s = took_s
        return question

    def _looked_at(self, asked: Asked) -> _Question | Outcome:
        hand = self._hands.get(asked.directory)
        if hand is None:
            hand = self._hands[asked.directory] = self._hand_of(asked.directory)
        # What a guard is over can be told only where that guard is.
        known = asked.known if asked.known is not None and asked.known.guard is None else None
        if known is not None and self._watch.holds(hand.place, known, self._before):
            return Outcome(unchanged=True)
        if not isinstance(asked.operation, READS):
            raise TypeError(f"{type(asked.operation).__name__} does not only look")
        read = _pinned(hand, asked.operation)
        watching = self._watch.begin(hand.place, read, self._since_ns, self._before, asked.guard)
        return _Question(asked, hand, read, watching)

    def _told(self, question: _Question) -> Outcome:
        result, ignored, watching = question.result, question.ignored, question.watching
        told = ignored if isinstance(question.read, ReadStatus) and len(ignored) <= MOST_ENTRIES else None
        is_kept = len(marshal.dumps(result)) <= LARGEST_KEPT and _is_still_at(question)
        proof = watching.proof(ignored, self._after) if watching is not None and is_kept else None
        return Outcome(result=result, proof=proof, ignored=told)


@contextmanager
def _own(*questions: _Question) -> Iterator[None]:
    """What goes wrong is these questions' own: other callers' go in the same call. So is the time that it takes."""
    begun = time.monotonic()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is
        for question in questions:
            question.outcome = failed(error)
    took_s = (time.monotonic() - begun) / len(questions)
    for question in questions:
        question.took_s += took_s


def _groups(questions: Iterable[_Question]) -> Iterable[list[_Question]]:
    """Those that one git can answer."""
    groups: dict[object, list[_Question]] = {}
    for question in questions:
        read, repository = question.read, question.hand.place.common_directory
        match read:
            case ListRefs():
                key: object = (read, repository)
            case ReadLog(revision=str(), files=()) if read != question.asked.operation:
                key = (read.limit, repository)
            case _:
                key = id(question)
        groups.setdefault(key, []).append(question)
    return groups.values()


def _ask(together: Sequence[_Question]) -> None:
    first = together[0]
    if isinstance(first.read, ListRefs):
        with _own(*together):
            found = reading.list_refs(first.hand, first.read)
            for question in together:
                question.result = reading.listed(question.hand, first.read, found)
        return
    left = together if len(together) == 1 else _ask_for_logs(together)
    for question in left:
        with _own(question):
            question.result, question.ignored = reading.answer(question.hand, question.read)


def _ask_for_logs(together: Sequence[_Question]) -> list[_Question]:
    """Those that it could not tell are left."""
    reads = [question.read for question in together if isinstance(question.read, ReadLog)]
    found: dict[str, dict[str, Any]] = {}
    with _own(*together):
        found = tell_logs(together[0].hand, {read.revision or "" for read in reads}, reads[0].limit)
    left = []
    for question, read in zip(together, reads, strict=True):
        question.result = found.get(read.revision or "", {})
        if not question.result:
            question.outcome = None
            left.append(question)
    return left


def _pinned(hand: Hand, read: Read) -> Read:
    if not isinstance(read, ReadLog) or read.revision is not None:
        return read
    return replace(read, revision=read_head(hand.place).commit)


def _is_still_at(question: _Question) -> bool:
    """HEAD, at the commit that it was at."""
    read = question.asked.operation
    return not isinstance(read, ReadLog) or _pinned(question.hand, read) == question.read


def _outcome(question: _Question) -> Outcome:
    return with_time(question.outcome or Outcome(), question.took_s)
