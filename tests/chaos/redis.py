"""A Redis server of a run's own: on a free port of loopback, in a directory of its own, ended whatever happens.

It keeps an append-only file, so what it was told survives its kill -9; after ``forget`` it comes back with
nothing. Everything here blocks for a moment only, but for ``start``, which waits until the server answers.
"""

from __future__ import annotations

import shutil
import signal
import socket as sockets
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_START_S = 10.0
_POLL_S = 0.02


class RedisServer:
    """A context manager: started on entry, ended on exit."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        with sockets.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it answers; no-op when it runs."""
        if self.is_running:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--dir", str(self._directory), "--appendonly", "yes", "--save", ""),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await_answer()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9; no-op when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Removes what it kept; only while it does not run."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def stall(self) -> None:
        """It takes connections from now on and answers nothing."""
        if self.is_running and self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self.is_running and self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with suppress(OSError), sockets.create_connection(("127.0.0.1", self.port), timeout=1) as line:
                line.sendall(b"PING\r\n")
                if line.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(_POLL_S)
        log = (self._directory / "redis.log").read_text(errors="replace")[-1000:]
        raise RuntimeError(f"redis-server does not answer on port {self.port}:\n{log}")
