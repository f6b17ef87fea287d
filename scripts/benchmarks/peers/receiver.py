"""What arrived, as the receiver shows it: the requests that real Claude Codes send to the stand-in of the API.

A text has arrived when an agent's model is asked with it: a request holds it behind the last answer. Whether it was
typed, or came as a reminder of a hook or in an envelope, makes no difference.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.standin.api import ApiStandIn

Json = dict[str, Any]
_OF_A_LEAD = ("@@tool SendMessage", "@@tool Agent", "@@tool ToolSearch", "@@script")
"""Lines with which a lead is told what to do: their text has not yet arrived at the one that it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """``at``: by ``time.monotonic``; ``texts``: what the model has not yet answered."""

    at: float
    texts: tuple[str, ...]


class Requests(list[Json]):
    """The stand-in's record of requests, which also notes when each came, and wakes who waits for one."""

    def __init__(self) -> None:
        super().__init__()
        self._arrivals: list[Arrival] = []
        self._came = threading.Condition()

    def append(self, request: Json) -> None:
        at = time.monotonic()
        super().append(request)
        if request.get("tools"):
            with self._came:
                self._arrivals.append(Arrival(at=at, texts=unanswered(request)))
                self._came.notify_all()

    def wait_for(self, text: str, timeout_s: float) -> float | None:
        """When the text arrived first; None when it does not in this time."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        with self._came:
            while True:
                for arrival in self._arrivals[seen:]:
                    if holds(arrival.texts, text):
                        return arrival.at
                seen = len(self._arrivals)
                if not self._came.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    return None

    def times(self, text: str) -> int:
        """How often it stands in the conversation in which it arrived."""
        return max((_count(request, text) for request in list(self) if request.get("tools")), default=0)


def unanswered(request: Json) -> tuple[str, ...]:
    """The texts behind the model's last answer, without those that tell a lead what to do."""
    tail = []
    for message in reversed(request["messages"]):
        if message["role"] == "assistant":
            break
        tail.append(message)
    return tuple(text for message in reversed(tail) for text in _texts(message))


def holds(texts: tuple[str, ...], text: str) -> bool:
    """Whether one of them has this very text in it; what marks its sender may stand around it."""
    return any(text in each for each in texts)


def _texts(message: Json) -> Iterator[str]:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for block in blocks:
        if block.get("type") == "text" and not block["text"].lstrip().startswith(_OF_A_LEAD):
            yield block["text"]


def _count(request: Json, text: str) -> int:
    return sum(
        each.count(text)
        for message in request["messages"]
        if message["role"] != "assistant"
        for each in _texts(message)
    )


class Receiver:
    """A stand-in of the API and what arrives there; a context manager."""

    def __init__(self) -> None:
        self.requests = Requests()
        self._api = ApiStandIn(requests=self.requests)

    def __enter__(self) -> Receiver:
        self._api.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._api.__exit__()

    @property
    def url(self) -> str:
        return self._api.url
