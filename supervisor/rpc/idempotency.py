"""Calls that may come twice: a client whose connection broke repeats its call with the same request id.

Spawns, ``MessageSender`` and ``GitService`` use it, in the supervisor's event loop. ``once`` lets a repeated call join
the one that is still under way. What must be known after a crash is stored in the transaction of the call's own writes:
for messages a record here; for instances the instance's own record and, when that goes, a record here too. A request id
belongs to one content; with another content it is refused. The latest calls are kept, up to ``KEPT`` and
``KEPT_BYTES``; the last one is kept however large it is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from actors.errors import InvalidRequestError
from actors.messages import decode, encode
from supervisor.api.requests import Request
from supervisor.records import Unreadable
from supervisor.store import keys

KEPT = 20_000
"""The most calls that are kept."""
KEPT_BYTES = 32_000_000
"""The most that their stored outcomes take."""
_NO_CONTENT = {"request_id", "wait", "timeout_seconds"}
_Outcome = TypeVar("_Outcome")


class IdempotencyStore:
    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._done: dict[str, bytes] = {}
        """The stored records by request id, oldest first."""
        self._size_bytes = 0
        self._unknown: set[str] = set()
        self._order = 0

    def restore(self, records: Mapping[str, bytes], unreadable: Unreadable) -> None:
        for key, done in sorted(unreadable.readable(records, _decode), key=lambda pair: pair[1].order):
            self._remember(key.removeprefix(keys.REQUEST_PREFIX), records[key])
            self._order = done.order
        unknown = (key for key in unreadable.keys if key.startswith(keys.REQUEST_PREFIX))
        self._unknown = {key.removeprefix(keys.REQUEST_PREFIX) for key in unknown}

    async def once(self, request: Request, request_id: str | None, work: Callable[[], Awaitable[_Outcome]]) -> _Outcome:
        """Runs ``work``, or joins the same call if it is under way.

        ``work`` is cancelled when every waiting caller was; a caller that only lost its connection waits on. A repeat
        of a call that is being cancelled waits until it has ended; then ``work`` finds what went on.
        """
        if request_id is None:
            return await work()
        running = await self._joined(request_id, fingerprint(request), work)
        running.waiting += 1
        try:
            return cast("_Outcome", await asyncio.shield(running.task))
        finally:
            running.waiting -= 1
            if running.waiting == 0:
                running.given_up = True
                running.task.cancel()

    async def _joined(self, request_id: str, content: str, work: Callable[[], Awaitable[Any]]) -> _Running:
        while (running := self._running.get(request_id)) is not None:
            check_same(request_id, running.content, content)
            if not running.given_up:
                return running
            await asyncio.wait([running.task])
        task = asyncio.ensure_future(work())
        task.add_done_callback(lambda _: self._running.pop(request_id))
        self._running[request_id] = _Running(content, task)
        return self._running[request_id]

    def outcomes(self, request_id: str | None, content: str) -> Sequence[Any] | None:
        """The kept outcomes of this call; None when it is new. Raises ``InvalidRequestError``."""
        if request_id in self._unknown:
            raise InvalidRequestError(
                f"A call with the requestId {request_id!r} was made before, and what it did cannot be read any more: "
                "look with list and read, and choose a new requestId if it is still to be done."
            )
        if request_id is None or request_id not in self._done:
            return None
        earlier = _decode(self._done[request_id])
        check_same(request_id, earlier.fingerprint, content)
        return earlier.outcomes

    def note(self, request_id: str | None, content: str, outcomes: list[Any]) -> IdempotentCall:
        """The call with the records to save and delete in one transaction with its own writes.

        Call ``keep`` when that is stored. Until then no other call is forgotten for it: the store may refuse.
        """
        if request_id is None:
            return IdempotentCall()
        self._order += 1
        record = encode(_Done(fingerprint=content, outcomes=outcomes, order=self._order))
        forgotten = tuple(self._without_room(request_id, len(record)))
        return IdempotentCall(request_id=request_id, record=record, forgotten=forgotten)

    def _without_room(self, request_id: str, size_bytes: int) -> Iterator[str]:
        """The calls that this one displaces, oldest first."""
        replaced = self._done.get(request_id)
        surplus = len(self._done) + (replaced is None) - KEPT
        surplus_bytes = self._size_bytes - len(replaced or b"") + size_bytes - KEPT_BYTES
        for id_, record in self._done.items():
            if surplus <= 0 and surplus_bytes <= 0:
                return
            if id_ != request_id:
                surplus -= 1
                surplus_bytes -= len(record)
                yield id_

    def _remember(self, request_id: str, record: bytes) -> None:
        self._forget(request_id)
        self._done[request_id] = record
        self._size_bytes += len(record)

    def _forget(self, request_id: str) -> None:
        self._size_bytes -= len(self._done.pop(request_id, b""))

    def keep(self, noted: IdempotentCall) -> None:
        """From now on a repeated call gets this outcome; called when it is stored."""
        for request_id in noted.forgotten:
            self._forget(request_id)
        if noted.request_id:
            self._remember(noted.request_id, noted.record)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentCall:
    """One call that is about to be stored; without a request id nothing is."""

    request_id: str = ""
    record: bytes = b""
    forgotten: tuple[str, ...] = ()
    """Request ids of the oldest calls, which have no room any more."""

    @property
    def records(self) -> Mapping[str, bytes]:
        return {keys.request(self.request_id): self.record} if self.request_id else {}

    @property
    def delete(self) -> list[str]:
        return list(map(keys.request, self.forgotten))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """The stored record."""

    fingerprint: str
    outcomes: list[Any]
    order: int


@dataclass(slots=True)
class _Running:
    content: str
    task: asyncio.Future[Any]
    waiting: int = 0
    given_up: bool = False
    """No caller waits for it any more, so it is being cancelled. What it does not undo goes on."""


def _decode(data: bytes) -> _Done:
    done = decode(_Done, data)
    if not isinstance(done.order, int) or not isinstance(done.outcomes, list):
        raise TypeError("no record of a call")
    return done


def fingerprint(request: Request) -> str:
    """Equal for two requests of the same content, also in a later version that knows more arguments."""
    content = request.model_dump_json(exclude=_NO_CONTENT, exclude_defaults=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def check_same(request_id: str, earlier: str, content: str) -> None:
    """Raises ``InvalidRequestError`` when the id was used for another content."""
    if earlier != content:
        raise InvalidRequestError(
            f"The requestId {request_id!r} was used for another call. Choose a new one, or repeat that call unchanged."
        )
