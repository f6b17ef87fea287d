"""What the runtime asks a running supervisor, from code that runs no event loop."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.errors import PhalanxError, VersionError
from actors.home import Home
from supervisor.api.results import TerminateResult
from supervisor.rpc.client import SupervisorClient

SENDER = "runtime"
_ANSWER_TIMEOUT_S = 5.0
_Answer = TypeVar("_Answer")


def gateway_answers(home: Home) -> bool:
    """Whether the supervisor answers ``status``; one of another version that understands nobody here is there, too."""
    if not _is_listening(home):
        return False
    try:
        _ask(home, SupervisorClient.status, _ANSWER_TIMEOUT_S)
    except VersionError:
        return True
    except (PhalanxError, TimeoutError):
        return False
    return True


def shut_down(home: Home, timeout_s: float) -> tuple[str, ...]:
    """Has the supervisor end all instances gently; returns what there is to say about it."""
    if not gateway_answers(home):
        return ("the supervisor does not answer: the agents are ended without it",)
    try:
        ended = _ask(home, SupervisorClient.shutdown, timeout_s)
    except (PhalanxError, TimeoutError) as error:
        return (f"the supervisor did not end all agents: {error or f'no answer within {timeout_s:.0f} s'}",)
    return _notes(ended)


def _notes(ended: TerminateResult) -> tuple[str, ...]:
    failed = [f"{each.instance_id}: {each.error.message}" for each in ended.terminated if each.error]
    kept = [f"{each.instance_id}: {each.kept}" for each in ended.terminated if each.kept]
    return (*failed, *kept)


def _is_listening(home: Home) -> bool:
    """Told apart at once: the client itself gives a supervisor that starts anew some time."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_TIMEOUT_S)
        try:
            probe.connect(str(home.gateway_socket))
        except OSError:
            return False
    return True


def _ask(home: Home, verb: Callable[[SupervisorClient], Awaitable[_Answer]], timeout_s: float) -> _Answer:
    async def ask() -> _Answer:
        async with asyncio.timeout(timeout_s), await SupervisorClient.connect(home, SENDER) as client:
            return await verb(client)

    return asyncio.run(ask())
