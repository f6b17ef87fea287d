"""An MCP server process, called with plain lines of JSON-RPC, so that the figures hold no work of a client library."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Self


class RawServer:
    """Runs ``python -m MODULE``; a context manager that ends it by the end of its input."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
        )
        self._last_id = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def initialize(self) -> None:
        client = {"name": "bench", "version": "1"}
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)

    def ready(self) -> None:
        """Tells the server that calls may follow."""
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, **params: Any) -> Any:
        """The result of a request. Raises ``RuntimeError`` when it is refused."""
        self._last_id += 1
        self._write({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        answer = self._read()
        while answer.get("id") != self._last_id:
            answer = self._read()
        if "result" not in answer or answer["result"].get("isError"):
            raise RuntimeError(f"{method} was refused: {answer}")
        return answer["result"]

    def _write(self, message: Mapping[str, Any]) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("the server has no input")
        stdin.write(json.dumps(message).encode() + b"\n")
        stdin.flush()

    def _read(self) -> dict[str, Any]:
        stdout = self._process.stdout
        line = stdout.readline() if stdout is not None else b""
        if not line:
            raise RuntimeError("the server ended")
        message: dict[str, Any] = json.loads(line)
        return message


def tool_calls_ms(environment: Mapping[str, str], tool: str, arguments: Mapping[str, Any], count: int) -> list[float]:
    """Times of ``count`` calls of a tool of the entry, in ms, as a lead makes them."""
    samples = []
    with RawServer("mcp_entry", environment) as entry:
        entry.initialize()
        entry.ready()
        for call in range(count + 1):
            begun = time.perf_counter()
            entry.ask("tools/call", name=tool, arguments=arguments)
            if call:  # the first one connects
                samples.append((time.perf_counter() - begun) * 1000)
    return samples
