"""CLI Agent Orchestrator (CAO): a server that starts Claude Code in shells in tmux and types into them.

Its built-in profile ``developer`` is taken, in mode ``default`` so that agents ask, as those of the others do. Agents
are started and typed to by the calls that ``cao launch`` and ``cao session send`` make to the server.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import psutil

from scripts.benchmarks.peers.peer import CALL_S, Peer, PeerError, Place, claudes, kill_all, shortened

_UP_S = 60.0
_POLL_S = 0.05
_PROFILE = "worker"


class Cao(Peer):
    name = "CAO"
    packages = ("cli-agent-orchestrator",)
    does_not: ClassVar[tuple[str, ...]] = (
        "prove that a text arrived: its success means that it was typed",
        "run an agent but in a login shell",
    )

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._port = _free_port()
        self._environment = {**place.environment, "CAO_API_PORT": str(self._port)}
        self._server: subprocess.Popen[bytes] | None = None
        self._sessions: dict[str, str] = {}

    def open(self) -> None:
        with (self.place.home / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.programs() / "cao-server", "--port", str(self._port)],
                cwd=self.place.project,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _UP_S
        while not self._answers():
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise PeerError("its server does not come up")
            time.sleep(_POLL_S)
        self._install_profile()

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/health")
        except PeerError:
            return False
        return True

    def _install_profile(self) -> None:
        path = self.place.home / f"{_PROFILE}.md"
        if not path.exists():
            built_in = next(
                self.programs().parent.glob("lib/*/site-packages/cli_agent_orchestrator/agent_store/developer.md")
            )
            named = f"name: {_PROFILE}\npermissionMode: default"
            path.write_text(built_in.read_text().replace("name: developer", named, 1))
            self.place.run(self.programs() / "cao", "install", path, "--provider", "claude_code")

    def close(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(CALL_S)

    def start(self, text: str) -> str:
        query = {"agent_profile": _PROFILE, "provider": "claude_code", "working_directory": str(self.place.project)}
        made = self._ask("POST", "/sessions", query, {"initial_message": text})
        self._sessions[made["id"]] = made["session_name"]
        return str(made["id"])

    def send(self, instance: str, text: str) -> str:
        self._ask("POST", f"/terminals/{instance}/input", {"message": text})
        return "sent"

    def end(self, instance: str) -> None:
        self._ask("DELETE", f"/sessions/{self._sessions.pop(instance)}")

    def agents(self) -> Sequence[psutil.Process]:
        return claudes(self.place)

    def kill_orchestrator(self) -> str:
        if self._server is None:
            raise PeerError("it is not open")
        kill_all([psutil.Process(self._server.pid)])
        self._server.wait(CALL_S)
        return "its server, then `cao-server` again"

    def _ask(self, method: str, path: str, query: dict[str, str] | None = None, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=CALL_S)
        target = f"{path}?{urllib.parse.urlencode(query or {})}"
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, target, data, {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise PeerError(f"its server: {error}") from error
        finally:
            connection.close()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise PeerError(f"{answer.status} {shortened(said)}")
        return json.loads(said or "null")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
