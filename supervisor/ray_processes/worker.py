"""The program that Ray's raylet starts for each worker: it lets the raylet's fork server start the worker instead.

The first one of a raylet becomes the server, so the server is the raylet's child. The others pass on their words and
environment, and end when the worker is known to Ray. A worker that dies before is asked for again, because Ray would
wait for it. Where no server can be reached, this process becomes the worker itself. It runs for each start, so it
imports only what is built into Python.
"""

import _socket
import fcntl
import marshal
import os
import sys

DIRECTORY = "PHALANX_WORKERS_DIRECTORY"
"""Environment variable of Ray's processes: a directory below a private one, for the server's socket."""
PROGRAM_NAME = "ray_processes/worker.py"
"""The end of the path of this file."""
SERVER = "supervisor.ray_processes.fork_server"
"""The module that is run as the server."""
STARTING_TITLE = "ray::starting"
"""Of a fork that Ray does not know yet, in the list of processes."""
RAYLET_VARIABLE = "RAY_RAYLET_PID"
"""Ray's name for it, in the environment of what a raylet has started."""
_JOB_VARIABLE = "RAY_JOB_ID"
"""Ray's name for it. Ray reads it when it is imported, so all forks of a server have the same."""
_ANY_JOB = "ffffffff"
"""Ray's own word for none. It gives such a worker to whatever job wants one."""
GIVEN_UP = b"x"
"""Sent after a request of which nothing is expected any more."""
LOCK = ".lock"
"""Follows the path of the socket."""
_TRIES = 2
_ANSWER_S = 20.0
"""A fork is known after a tenth of a second; the server may have to import first, and the machine to wait."""


def _start() -> None:
    raylet = int(os.environ[RAYLET_VARIABLE])
    request = marshal.dumps([sys.argv[1:], dict(os.environb)])
    for _ in range(_TRIES):
        server = _server_of(raylet)
        try:
            server.sendall(len(request).to_bytes(4, "big") + request)
            if server.recv(1):
                return
        except (ConnectionResetError, BrokenPipeError):
            pass  # the server has ended: the next try starts another
        except TimeoutError:
            server.send(GIVEN_UP)
            raise
        finally:
            server.close()
    raise OSError("no worker came up")


def _server_of(raylet: int) -> _socket.socket:
    """A connection to the server, which is started if there is none. Raises ``OSError``."""
    path = f"{os.environ[DIRECTORY]}/workers-{raylet}"
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(_ANSWER_S)
    try:
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    else:
        return connection
    lock = os.open(path + LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            _become_server_beside_this(path, raylet)
            connection.connect(path)
    finally:
        os.close(lock)
    return connection


def _become_server_beside_this(path: str, raylet: int) -> None:
    """Returns in a child; this process becomes the server, and so stays the raylet's child."""
    remove(path)  # of a server that was killed
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(_socket.SOMAXCONN)
    if os.fork():
        os.set_inheritable(listener.fileno(), True)
        os.environ[_JOB_VARIABLE] = _ANY_JOB
        os.execv(sys.executable, [sys.executable, "-P", "-m", SERVER, str(listener.fileno()), str(raylet)])  # noqa: S606
    listener.close()


def remove(path: str) -> None:
    if os.path.exists(path):  # noqa: PTH110
        os.unlink(path)  # noqa: PTH108


def _become_worker() -> None:
    os.setpgid(0, 0)  # Ray kills the group of a worker that has ended; this may be in that of the server
    # -P: the directory of this file is not where modules are looked for
    os.execv(sys.executable, [sys.executable, "-P", "-m", "ray._private.workers.default_worker", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    try:
        _start()
    except (OSError, KeyError, ValueError) as error:
        print(f"No process of the fork server: {error}", file=sys.stderr)
        _become_worker()
