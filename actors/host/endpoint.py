"""The process of this host that serves the team's tools to its instances (``mcp_entry.web``): begun, watched, ended.

The host's actor keeps one ``TeamEndpoint``. Promises: one process per home and host (it holds a lock). It is no child
of the actor, so it outlives actor, supervisor and Ray; a new actor finds it by its private socket and adopts it. The
port is kept in the home, because the agents know it. A process that ends is replaced at once. The actor holds the
listening socket too, so that meanwhile connections wait in the kernel and none is refused. It also holds the calls that
the process has not answered yet, and gives them to the next one: their agents notice nothing but a slow call.

The private socket (``HOME/web.sock``): who connects is given the listening socket, then the calls (``open_calls``), and
learns by the end of the connection that the process has ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket as sockets
import struct
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

import actors
from actors.backoff import Backoff
from actors.errors import SettingsError, UnavailableError
from actors.files import write_private
from actors.home import Home
from actors.host.open_calls import OpenCall, give, readable, receive
from actors.marks import ENDPOINT_MARK, TEAM_MARK
from actors.processes import end_all_found, end_processes, no_signal_blocked, processes_with

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
PATH = "/mcp"
LOG_NAME = "web.log"
GREETING = b"phalanx"
"""Comes with the listening socket."""
MODULE = "mcp_entry.web"
ENSURE_S = 20.0
_BACKLOG = 1024
_ABOVE_RAY = 20_000
_TRIED_PORTS = 100
_SLOW_READER_MS = 30_000
_MEET_S = 5.0
_START_S = 30.0
_TAKEN_S = 10.0
_FORK_S = 20.0
_POLL_S = 0.05
_GRACE_S = 3.0
_STEADY_S = 10.0
"""A process that has run so long did not fail at its start."""
_MOST_GIVEN = 3
"""A call that so many processes died over is given to no other: it may be what they died of."""
_RESTART = Backoff(first_s=0.5, longest_s=60.0)
_VARIABLES = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TMPDIR",
        "TZ",
        "USER",
        TEAM_MARK,
    }
)
"""Of the actor's environment, which is Ray's. Nothing of Ray itself: who ends Ray must not end the endpoint."""
_PACKAGES = Path(actors.__file__).resolve().parent.parent


class TeamEndpoint:
    """All methods belong to one event loop."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._listener: sockets.socket | None = None
        self._listens = asyncio.Event()
        self._process: psutil.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._starting: asyncio.Future[None] | None = None
        self._failure = ""
        self._calls: dict[bytes, _HeldCall] = {}
        self._calls_of: psutil.Process | None = None
        """The process that works on them, or did."""

    def begin(self) -> None:
        """Adopts or starts the process, and from now on keeps it running. No-op when that is so already."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name="endpoint of the instances")

    async def ensure(self) -> str:
        """The URL. A process that is only just starting is not waited for: connections are taken already.

        Raises ``UnavailableError`` that says what is wrong.
        """
        self.begin()
        with suppress(TimeoutError):
            async with asyncio.timeout(ENSURE_S):
                await self._listens.wait()
        if self._listener is None:
            raise UnavailableError(
                f"The endpoint of the instances does not start: {self._failure or 'no answer'}. "
                f"The log is {self._home.logs / LOG_NAME}."
            )
        return url_at(self._listener.getsockname()[1])

    async def end(self) -> None:
        """Ends the process, also one that is not adopted yet or only just starting."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        mark = str(self._home.root)
        await asyncio.to_thread(end_all_found, lambda: processes_with(ENDPOINT_MARK, mark), _GRACE_S)
        self._drop_calls()
        self._take(None)

    async def _keep(self) -> None:
        failures = 0
        while True:
            begun = time.monotonic()
            try:
                connection = await self._met() or await self._started()
                self._failure = ""
                await self._follow(connection)
                logger.warning("the endpoint of the instances has ended: it is started again")
            except Exception as error:
                self._failure = str(error) or type(error).__name__
                logger.exception("the endpoint of the instances does not start")
            failures = 0 if time.monotonic() - begun > _STEADY_S else failures + 1
            # The first restart has no pause.
            await asyncio.sleep(_RESTART.pause_s(failures - 1))

    async def _met(self) -> sockets.socket | None:
        """The connection to the process that runs; None when there is none, also when it hung and was ended."""
        try:
            async with asyncio.timeout(_MEET_S):
                return await self._meet()
        except TimeoutError:
            if self._process is not None:
                logger.warning("the endpoint of the instances hangs: it is ended")
                await asyncio.to_thread(end_processes, [self._process], 0)
            return None

    async def _started(self) -> sockets.socket:
        if self._listener is None and (connection := await self._soon_met()) is not None:
            return connection
        listener = self._listener or listen_at_kept_port(self._home)
        self._take(listener)
        life, of_process = os.pipe()  # the reading end tells when the process has ended
        os.set_blocking(life, False)
        try:
            # Shielded: a start that goes on after the end would leave a process behind.
            self._starting = asyncio.ensure_future(asyncio.to_thread(_start, self._home, listener, of_process))
            await asyncio.shield(self._starting)
            async with asyncio.timeout(_START_S):
                while True:
                    ended = _has_ended(life)
                    if (connection := await self._meet()) is not None:
                        return connection
                    if ended:
                        raise UnavailableError(f"it ended at once, see {self._home.logs / LOG_NAME}")
                    await asyncio.sleep(_POLL_S)
        finally:
            os.close(life)

    async def _soon_met(self) -> sockets.socket | None:
        """A process that an actor started before it died holds the kept port and does not serve yet: it is waited for.

        With another port the agents that run would lose their tools.
        """
        deadline = time.monotonic() + _TAKEN_S
        while (connection := await self._meet()) is None and _is_taken(kept_port(self._home)):
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(_POLL_S)
        return connection

    async def _meet(self) -> sockets.socket | None:
        """None when nobody listens. Takes over the listening socket of the process. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, str(self._home.web_socket))
            self._process = _peer(connection)
            await readable(connection)
            listener = _received(connection)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            self._process = None
            return None
        except BaseException:
            connection.close()
            raise
        self._take(listener)
        with suppress(SettingsError):  # the next one that is met is noted
            _keep_port(self._home, listener)
        return connection

    async def _follow(self, connection: sockets.socket) -> None:
        """Holds the calls of the process that was met until it has ended. First gives it those of the one before it."""
        try:
            if self._process == self._calls_of:  # it tells them anew
                self._drop_calls()
            self._calls_of = self._process
            async with asyncio.timeout(_MEET_S):
                await self._give_calls(connection)
            while (told := await receive(connection)) is not None:
                call_id = told.call_id if isinstance(told, OpenCall) else told
                if (known := self._calls.pop(call_id, None)) is not None:
                    known.call.close()
                if isinstance(told, OpenCall):
                    self._calls[call_id] = _HeldCall(told)
        except (OSError, TimeoutError) as error:
            logger.warning("the connection to the endpoint of the instances broke: %s", str(error) or "no answer")
        finally:
            connection.close()

    async def _give_calls(self, connection: sockets.socket) -> None:
        """Raises ``OSError``."""
        for call_id, held in list(self._calls.items()):
            held.given += 1
            if held.given > _MOST_GIVEN:
                logger.warning("a call that %d endpoints have died over is given up", _MOST_GIVEN)
                self._calls.pop(call_id).call.close()
            else:
                await give(connection, held.call)

    def _drop_calls(self) -> None:
        for held in self._calls.values():
            held.call.close()
        self._calls.clear()

    def _take(self, listener: sockets.socket | None) -> None:
        if self._listener is not None and self._listener is not listener:
            self._listener.close()
        self._listener = listener
        if listener is None:
            self._listens.clear()
        else:
            self._listens.set()


@dataclass(slots=True)
class _HeldCall:
    call: OpenCall
    given: int = 0
    """To how many processes after the one that took it."""


def listen_at_kept_port(home: Home) -> sockets.socket:
    """The listening socket. The port is that of the home; a new one when it is taken, or the first time.

    Raises ``OSError`` and ``SettingsError``.
    """
    listener = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
    try:
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        # The kernel drops a client that does not read its answer. Accepted sockets inherit it.
        listener.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, _SLOW_READER_MS)
        kept = kept_port(home)
        if not (kept and _binds(listener, kept)):
            if kept:
                logger.warning("port %d is taken: agents that run keep it and lose their tools until a restart", kept)
            if not any(_binds(listener, port) for port in _free_for_long(home)):
                listener.bind((ADDRESS, 0))
        listener.listen(_BACKLOG)
        _keep_port(home, listener)
    except BaseException:
        listener.close()
        raise
    return listener


def _keep_port(home: Home, listener: sockets.socket) -> None:
    """Raises ``SettingsError``."""
    if (port := listener.getsockname()[1]) != kept_port(home):
        write_private(home.web_file, json.dumps({"port": port}))


def _is_taken(port: int) -> bool:
    if not port:
        return False
    with sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM) as probe:
        probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        return not _binds(probe, port)


def _binds(listener: sockets.socket, port: int) -> bool:
    with suppress(OSError):
        listener.bind((ADDRESS, port))
        return True
    return False


def _free_for_long(home: Home) -> list[int]:
    """Ports to try, from one that few other homes begin with.

    While neither the process nor its keeper holds the port, the kernel gives none of these to a connection of somebody
    else. Ray's workers listen below them.
    """
    try:
        first_of_connections = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return []
    ports = range(_ABOVE_RAY, first_of_connections)
    first = zlib.crc32(bytes(home.root)) % max(len(ports), 1)
    return [*ports[first:], *ports[:first]][:_TRIED_PORTS]


def kept_port(home: Home) -> int:
    """0 when there is none yet, or it cannot be read."""
    try:
        port = json.loads(home.web_file.read_text())["port"]
    except (OSError, ValueError, TypeError, KeyError):
        return 0
    return port if isinstance(port, int) and 0 < port < 65536 else 0


def kept_url(home: Home) -> str:
    """Where the endpoint was last, and will be again; empty when it never was."""
    port = kept_port(home)
    return url_at(port) if port else ""


def url_at(port: int) -> str:
    return f"http://{ADDRESS}:{port}{PATH}"


def endpoint_runs(home: Home) -> bool:
    """Whether the process takes connections at its private socket. Does not wait for an answer."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(home.web_socket))
        except BlockingIOError:  # it is there, and busy
            return True
        except OSError:
            return False
    return True


def _has_ended(life: int) -> bool:
    """Whether nobody has the other end of the pipe open any more."""
    with suppress(BlockingIOError):
        return os.read(life, 1) == b""
    return False


def _start(home: Home, listener: sockets.socket, life: int) -> None:
    """Starts the process, which detaches itself: a child of the actor would end with it. It keeps ``life`` open until
    it ends; here it is closed. Raises ``SettingsError``, ``OSError`` and ``SubprocessError``."""
    log = home.logs / LOG_NAME
    descriptor = listener.fileno()
    words = [sys.executable, "-m", MODULE, "--listener", str(descriptor), "--detach"]
    kept = {name: value for name, value in os.environ.items() if name in _VARIABLES}
    with os.fdopen(life, "wb"), open(log, "ab", opener=_private) as output, no_signal_blocked():
        code = subprocess.run(
            words,
            # ``-m`` imports from here first.
            cwd=_PACKAGES,
            env={**kept, "PHALANX_HOME": str(home.root), ENDPOINT_MARK: str(home.root)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[descriptor, life],
            start_new_session=True,
            timeout=_FORK_S,
            check=False,
        ).returncode
    if code:
        raise SettingsError(f"its program ended with exit status {code}, see {log}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _peer(connection: sockets.socket) -> psutil.Process | None:
    """The process that listens. It has not ended if it answers afterwards."""
    told = connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", told)
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid)
    return None


def _received(connection: sockets.socket) -> sockets.socket:
    """The listening socket. No program that the actor starts inherits it. Raises ``ConnectionError``."""
    greeting, descriptors, _, _ = sockets.recv_fds(connection, len(GREETING), 1, sockets.MSG_CMSG_CLOEXEC)
    if greeting == GREETING and len(descriptors) == 1:
        return sockets.socket(fileno=descriptors[0])
    for descriptor in descriptors:
        os.close(descriptor)
    raise ConnectionResetError("the endpoint's process has just ended")
