"""Lets an actor's main thread wait until somebody calls, instead of looking a hundred times a second for signals.

Every 10 ms Ray asks in the main thread of an actor's process whether Python has a signal to handle. No setting changes
that, and it is three quarters of what an idle actor costs. Here a signal's handler waits inside that question, so the
next one comes when it returns. Ray hands calls to the actor in its main thread too: who calls an actor knocks first,
see ``actors.ray_client``. A call without a knock waits up to ``REST_S``.

``REST_DIRECTORY`` says where the knocks go. Only a Ray of one machine has it: in a cluster calls come from hosts that
cannot knock, and its actors do not rest. Nor would they in a Ray that asked no more; nothing else would happen, and a
test would tell.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

REST_DIRECTORY = "PHALANX_REST_DIRECTORY"
"""Environment variable of Ray's processes: a directory below a private one, emptied before their Ray starts."""
FIRST_S = 10.0
"""Before the first rest: the actor is being made."""
AWAKE_S = 0.5
"""After a knock: other calls often follow."""
REST_S = 2.0
_PASS_S = 0.005
"""Between two rests. What has come meanwhile is handled before Ray asks again."""


def knock(actor_name: str) -> None:
    """Wakes the actor of this name if it rests; never waits."""
    directory = os.environ.get(REST_DIRECTORY)
    if directory and actor_name:
        # Refused or not there: it does not rest. Full: somebody else has knocked.
        with suppress(OSError), _door() as sender:
            sender.sendto(b"k", f"{directory}/{actor_name}")


def forget(actor_name: str) -> None:
    """Removes what an actor that was ended for good has left here."""
    directory = os.environ.get(REST_DIRECTORY)
    if directory and actor_name:
        _remove(f"{directory}/{actor_name}")


def begin_to_rest(name_of_actor: Callable[[], str | None]) -> None:
    """Lets the main thread of this process rest from now on, if this is that thread, and if knocks are possible.

    ``name_of_actor`` is asked before the first rest.
    """
    directory = os.environ.get(REST_DIRECTORY)
    if not directory or threading.current_thread() is not threading.main_thread():
        return
    door: socket.socket | None = None

    def wait(_number: int, _frame: FrameType | None) -> None:
        nonlocal door
        door = door or _open_door(f"{directory}/{name_of_actor()}")
        signal.setitimer(signal.ITIMER_REAL, AWAKE_S if _is_knocked(door) else _PASS_S)

    signal.signal(signal.SIGALRM, wait)
    signal.setitimer(signal.ITIMER_REAL, FIRST_S)


def _open_door(path: str) -> socket.socket:
    door = _door()
    _remove(path)  # of the actor's process before
    door.bind(path)
    os.chmod(path, 0o600)  # noqa: PTH101
    return door


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - an instance does not load pathlib for this


def _is_knocked(door: socket.socket) -> bool:
    """Waits for it."""
    door.settimeout(REST_S)
    try:
        door.recv(1)
    except TimeoutError:
        return False
    door.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            door.recv(1)
    return True


def _door() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
