"""Phalanx, as a lead has it: a client that stays connected to the team."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import ClassVar

import psutil

from actors.errors import PhalanxError
from actors.home import Home
from actors.messages import MessageStatus
from scripts.benchmarks.peers.loop import LoopThread
from scripts.benchmarks.peers.peer import Peer, PeerError, Place, claudes, kill_all
from scripts.benchmarks.processes import processes_of
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from tests.projects import shell_environment

_SAID = {MessageStatus.SUBMITTED: "proved", MessageStatus.BLOCKED: "held", MessageStatus.ACCEPTED: "held"}


class Phalanx(Peer):
    name = "Phalanx"
    does_not: ClassVar[tuple[str, ...]] = (
        "run elsewhere than on Linux",
        "lead other programs than Claude Code",
        "come without Ray",
    )

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._loop = LoopThread()
        self._home = Home(place.home / "h")
        claude = str(place.home / "bin/claude")
        self._environment = shell_environment(self._home, **place.environment, PHALANX_CLAUDE_COMMAND=claude)
        self._runtime = Runtime(self._home, Settings.load(self._home, self._environment))
        self._client: SupervisorClient | None = None

    def open(self) -> None:
        self._runtime.up(self._environment, lambda step: None)
        self._client = self._loop.run(SupervisorClient.connect(self._home, sender="lead"))

    def close(self) -> None:
        self._runtime.down(lambda step: None)
        self._loop.stop()

    @property
    def _team(self) -> SupervisorClient:
        if self._client is None:
            raise PeerError("it is not open")
        return self._client

    def start(self, text: str) -> str:
        try:
            return self._loop.run(self._team.spawn(self._specialist(text))).instance_id
        except PhalanxError as error:
            raise PeerError(str(error)) from error

    def start_many(self, texts: Sequence[str]) -> list[str]:
        batch = requests.SpawnBatchRequest(instances=[self._specialist(text) for text in texts])
        started = self._loop.run(self._team.spawn_batch(batch))
        if not started.success:
            raise PeerError(str(next(one.error for one in started.instances if one.error)))
        return [one.instance_id or "" for one in started.instances]

    def _specialist(self, text: str) -> requests.SpawnRequest:
        return requests.SpawnRequest(
            role=requests.Role.SPECIALIST,
            work_dir=str(self.place.project),
            context=text,
            permission_mode="default",
        )

    def send(self, instance: str, text: str) -> str:
        """The same request for the same text: one whose call failed may be sent again without coming twice."""
        same = uuid.uuid5(uuid.NAMESPACE_OID, f"{instance} {text}").hex
        request = requests.SendRequest(instance_id=instance, message=text, wait=True, request_id=same)
        try:
            sent = self._loop.run(self._team.send(request))
        except (PhalanxError, OSError) as error:
            raise PeerError(str(error)) from error
        if sent.status not in _SAID:
            raise PeerError(f"{sent.status}: {sent.reason}")
        return _SAID[sent.status]

    def allow(self, instance: str) -> None:
        answer = requests.RespondRequest(instance_id=instance, decision="allow")
        try:
            self._loop.run(self._team.respond(answer))
        except PhalanxError as error:
            raise PeerError(str(error)) from error

    def end(self, instance: str) -> None:
        try:
            self._loop.run(self._team.terminate(requests.TerminateRequest(instance_id=instance)))
        except PhalanxError as error:
            raise PeerError(str(error)) from error

    def agents(self) -> Sequence[psutil.Process]:
        return claudes(self.place)

    def kill_orchestrator(self) -> str:
        found = processes_of(self._home)
        killed = kill_all([each for kind, members in found.items() if kind != "tmux" for each in members])
        return f"all {killed} processes of it and of Ray, then `phalanx up`"
