"""Forks the worker processes of one raylet: all imports are done once, and their memory is shared.

``worker`` starts it with the number of a listening socket, asks it for workers there, and starts another one when it
has ended. It ends with its raylet, and as soon as a file of what it has imported is another one: a worker never runs
other code than the installed. It has one thread, because only that is forked. A fork is a worker as Ray starts it, with
the words, the environment and the process group that the raylet expects, and it outlives the server.
"""

from __future__ import annotations

import gc
import marshal
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray._private import worker as ray_worker
from ray._private.workers import default_worker

from supervisor.ray_processes.worker import GIVEN_UP, LOCK, STARTING_TITLE, remove

_SHARED = ("actors.instance.instance", "actors.host.host", "supervisor.build")
"""Not the actor classes made of them: to make one, Ray takes a random id, and every fork would go on with the same."""
_BY_RAY = ("pydantic.v1.fields", "ray._common.pydantic_compat", "ray._private.arrow_serialization", "starlette")
"""What a worker of Ray imports, if it is installed, when it serializes for the first time."""
_CLIENT_S = 5.0


class _Request(NamedTuple):
    """``client`` is told when the worker is known to Ray."""

    client: socket.socket
    words: list[str]
    environment: dict[bytes, bytes]


def serve(listener: socket.socket, raylet: int) -> _Request | None:
    """In a worker what was asked; None when the raylet has ended or the code is another.

    Raises ``OSError`` and ``RuntimeError`` where it cannot fork; then each worker starts by itself.
    """
    raylet_ends = os.pidfd_open(raylet)
    if Path(f"/proc/{raylet}/comm").read_text().strip() != "raylet":
        return None
    for module in _SHARED:
        import_module(module)
    for module in _BY_RAY:
        with suppress(ImportError):
            import_module(module)
    _check_may_fork()
    gc.collect()
    gc.freeze()  # or a collection in a worker would write to the memory of all, and make it its own
    paths = [path for each in list(sys.modules.values()) if (path := getattr(each, "__dict__", {}).get("__file__"))]
    written = [_written(path) for path in paths]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps the workers
    either = select.poll()
    either.register(listener, select.POLLIN)
    either.register(raylet_ends, select.POLLIN)
    while True:
        ready = dict(either.poll())
        if raylet_ends in ready:
            socket_path = str(listener.getsockname())
            remove(socket_path)
            remove(socket_path + LOCK)
            return None
        if [_written(path) for path in paths] != written:
            return None
        connection, _ = listener.accept()
        with suppress(OSError, EOFError, ValueError):
            request = _read(connection)
            if _is_wanted(request) and os.fork() == 0:
                listener.close()
                os.close(raylet_ends)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return request
        connection.close()


def _check_may_fork() -> None:
    """Raises ``RuntimeError`` when a fork would lack threads, or when Ray has begun with its random numbers, so that
    two workers would make the same ids."""
    if len([*Path("/proc/self/task").iterdir()]) > 1:
        raise RuntimeError("what was imported has started a thread")
    first, second = _id_of_fork(), _id_of_fork()
    if first == second:
        raise RuntimeError(f"two forks made the same id, {first!r}")


def _id_of_fork() -> bytes:
    reading, writing = os.pipe()
    if (fork := os.fork()) == 0:
        os.write(writing, ray.ObjectRef.from_random().binary())
        os._exit(0)
    os.close(writing)
    os.waitpid(fork, 0)
    with os.fdopen(reading, "rb") as told:
        return told.read()


def _written(path: str) -> int:
    """In nanoseconds; 0 for a file that is gone."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - for a thousand of them
    except OSError:
        return 0


def _read(client: socket.socket) -> _Request:
    """Raises ``OSError``, ``EOFError`` or ``ValueError``."""
    client.settimeout(_CLIENT_S)
    length = int.from_bytes(_bytes_of(client, 4), "big")
    words, environment = marshal.loads(_bytes_of(client, length))  # noqa: S302 - the socket is the user's own
    return _Request(client, words, environment)


def _bytes_of(client: socket.socket, count: int) -> bytes:
    """Not one more: what follows is not read here."""
    got = b""
    while len(got) < count:
        if not (more := client.recv(count - len(got))):
            raise EOFError
        got += more
    return got


def _is_wanted(request: _Request) -> bool:
    """Whether who asked has not said that it starts the worker itself. One that was killed said nothing."""
    request.client.setblocking(False)
    try:
        return request.client.recv(1, socket.MSG_PEEK) != GIVEN_UP
    except BlockingIOError:
        return True


def _be_worker(request: _Request) -> None:
    connect = ray_worker.connect

    def connect_and_tell(*arguments: Any, **named: Any) -> None:
        if not _is_wanted(request):
            raise SystemExit("who asked for this worker starts it itself")
        connect(*arguments, **named)
        with suppress(OSError), request.client as client:
            client.send(b"k")

    ray_worker.connect = connect_and_tell
    its_functions: Any = ray._raylet
    its_functions.setproctitle(STARTING_TITLE)
    os.setpgid(0, 0)  # Ray kills the group of a worker that has ended
    os.environb.clear()
    os.environb.update(request.environment)
    sys.argv = [str(default_worker.__file__), *request.words]
    del sys.modules[default_worker.__name__]
    runpy.run_module(default_worker.__name__, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    asked = serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    if asked is not None:
        _be_worker(asked)
