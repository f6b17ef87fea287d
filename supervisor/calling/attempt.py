"""One call of a client, made over as many connections as it takes.

``SupervisorClient.call`` keeps one. It knows whether the call may be made again after a lost connection, how long it
may still take, and what to tell when its outcome stays unknown. Time in which the team was away does not count as the
call's own, but is bounded too.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from actors.errors import UnavailableError
from supervisor.api.requests import EventsRequest, Request, WaitRequest
from supervisor.api.verbs import REPEATABLE

RETURN_PATIENCE_S = 60.0
"""How long a call waits at once for a team that was lost: somebody may be bringing back all of Ray."""
_SHORTEST_WAIT_S = 0.1


def identified(request: Request) -> Request:
    """The request with an id of its own, where it can carry one and does not: then it may be made twice."""
    if "request_id" not in type(request).model_fields or getattr(request, "request_id", None):
        return request
    return request.model_copy(update={"request_id": secrets.token_hex(16)})


def advice(verb: str) -> str:
    if verb in REPEATABLE:
        return "Make the call again."
    return "Whether it took effect is not known: look with list what became of it before you make the call again."


def waits_s(request: Request) -> float:
    """How long the supervisor may take over it because it was asked to wait for something."""
    waits = isinstance(request, WaitRequest | EventsRequest) or getattr(request, "wait", False)
    return float(getattr(request, "timeout_seconds", 0.0)) if waits else 0.0


class Attempt:
    def __init__(self, verb: str, request: Request, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """``limit_s``: how long the call may take while the team is there."""
        self.verb = verb
        self._request = request
        self.limit_s = limit_s
        self._now = now
        self._deadline = now() + limit_s
        self._away_left_s = max(RETURN_PATIENCE_S, limit_s)
        self.lost = False
        """A connection was lost since the call began."""
        self.may_have_taken_effect = False

    @property
    def left_s(self) -> float:
        return max(0.0, self._deadline - self._now())

    @property
    def patience_s(self) -> float:
        """How long to wait now for a team that was lost."""
        return min(RETURN_PATIENCE_S, self._away_left_s)

    @property
    def may_be_repeated(self) -> bool:
        known = self.verb in REPEATABLE or bool(getattr(self._request, "request_id", None))
        return (known or not self.may_have_taken_effect) and self.patience_s > 0

    def params(self) -> dict[str, Any]:
        """What is sent. A call that waits for something waits, when it is made again, only for what is left of it.

        What is as it is by itself is left out: a team of before, which does not know it, need not. But for how long it
        may wait, by which we wait for the answer.
        """
        request = self._request
        if self.lost and (wanted_s := waits_s(request)):
            left_s = max(_SHORTEST_WAIT_S, wanted_s - (self.limit_s - self.left_s))
            request = request.model_copy(update={"timeout_seconds": left_s})
        params = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        timeout_s = getattr(request, "timeout_seconds", None)
        return params if timeout_s is None else {**params, "timeoutSeconds": timeout_s}

    def connection_lost(self, *, was_sent: bool) -> None:
        self.lost = True
        self.may_have_taken_effect |= was_sent and self.verb not in REPEATABLE

    @contextmanager
    def waiting_for_the_team(self) -> Iterator[None]:
        begun = self._now()
        yield
        self.was_sent_away(begun)

    def was_sent_away(self, begun: float) -> None:
        """Since ``begun`` the team was waited for."""
        away_s = self._now() - begun
        if self.lost:
            self._away_left_s -= away_s
        self._deadline += away_s

    def lost_error(self) -> UnavailableError:
        return UnavailableError(f"The connection to the team was lost during {self.verb}. {advice(self.verb)}")
