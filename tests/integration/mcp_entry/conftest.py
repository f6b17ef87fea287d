"""The entry as a process, spoken to in lines of JSON-RPC."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
ANSWER_S = 60.0
PROMPTLY_S = 5.0
"""For what needs no time but that of a busy machine."""


class EntryProcess:
    """One run of the entry; ``lines`` is everything that came from its stdout."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], directory: Path, answer_s: float = ANSWER_S
    ) -> None:
        """``answer_s``: how long it may say nothing while something is awaited."""
        self._answer_s = answer_s
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=directory,
            bufsize=0,
        )
        self.lines: list[str] = []
        self._rest = b""
        self._next_id = 0

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def begin(self, method: str, **params: Any) -> int:
        """Sends a request; its id."""
        self._next_id += 1
        self.write(json.dumps({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}))
        return self._next_id

    def notify(self, method: str, **params: Any) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    def next_message(self) -> dict[str, Any]:
        line = self._next_line()
        self.lines.append(line)
        message: dict[str, Any] = json.loads(line)
        return message

    def answer(self, request_id: int) -> dict[str, Any]:
        """The answer to a request; notifications before it are passed over."""
        while (message := self.next_message()).get("id") != request_id:
            pass
        return message

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        result: dict[str, Any] = self.answer(self.begin(method, **params))["result"]
        return result

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.ask("tools/call", name=tool, arguments=arguments)

    def initialize(self) -> dict[str, Any]:
        client = {"name": "tests", "version": "1"}
        result = self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        self.notify("notifications/initialized")
        return result

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def exit_code(self, within_s: float) -> int:
        return self.process.wait(within_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _next_line(self) -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + self._answer_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                assert selector.select(deadline - time.monotonic()), "the entry does not answer"
                chunk = os.read(self.process.stdout.fileno(), 65536)
                assert chunk, "the entry has closed its stdout"
                self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


StartEntry = Callable[..., EntryProcess]


@pytest.fixture
def start_entry(short_tmp: Path) -> Iterator[StartEntry]:
    """Starts entries in a home below ``short_tmp``; those that still run at the end are killed."""
    started: list[EntryProcess] = []

    def start(*arguments: str, directory: Path = ROOT, **environment: str) -> EntryProcess:
        environment = {"PHALANX_HOME": str(short_tmp / "home"), **environment}
        command = (sys.executable, *(arguments or ("-m", "mcp_entry")))
        started.append(EntryProcess(command, environment, directory))
        return started[-1]

    yield start
    for entry in started:
        entry.kill()
