"""Which parts of a team answer now, and the runtime's calls to a running supervisor, made without an event loop."""

from __future__ import annotations

import asyncio
import socket as sockets
from contextlib import suppress
from dataclasses import dataclass

from actors.errors import PhalanxError, TerminalError, VersionError
from actors.home import Home
from supervisor.api.results import TerminateResult
from supervisor.api.verbs import RequestT, ResultT, TeamVerbs, Verb
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime.ray_head import is_head
from supervisor.runtime.tear_down import cluster_answers, mark_of_server
from supervisor.team.file import TeamInfo

SENDER = "runtime"
_ANSWER_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeParts:
    head: bool = False
    terminal: bool = False
    gateway: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Names for people."""
        named = {"Ray": self.head, "the tmux server": self.terminal, "the supervisor": self.gateway}
        return tuple(name for name, there in named.items() if not there)


NONE = RuntimeParts()


def look(home: Home, team: TeamInfo | None) -> RuntimeParts:
    """A process id in the team's file counts only while that process carries the team's mark."""
    if team is None:
        return NONE
    terminal = False
    with suppress(TerminalError):
        terminal = mark_of_server(home) == team.team_id
    return RuntimeParts(head=has_head(team), terminal=terminal, gateway=gateway_answers(home))


def has_head(team: TeamInfo) -> bool:
    return cluster_answers(team.ray_address) if team.joined else is_head(team.head_pid, team.team_id)


def gateway_answers(home: Home) -> bool:
    """Whether the supervisor answers ``status``. One of another version, which refuses this client, answers too."""
    if not _is_listening(home):
        return False
    try:
        _ask(home, TeamVerbs.status, _ANSWER_TIMEOUT_S)
    except VersionError:
        return True
    except (PhalanxError, TimeoutError):
        return False
    return True


def shut_down(home: Home, timeout_s: float) -> tuple[str, ...]:
    """Lets the supervisor end all instances gently. Returns notes for people."""
    if not gateway_answers(home):
        return ("the supervisor does not answer: the agents are ended without it",)
    try:
        ended = _ask(home, TeamVerbs.shutdown, timeout_s)
    except (PhalanxError, TimeoutError) as error:
        return (f"the supervisor did not end all agents: {error or f'no answer within {timeout_s:.0f} s'}",)
    return _notes(ended)


def _notes(ended: TerminateResult) -> tuple[str, ...]:
    failed = [f"{each.instance_id}: {each.error.message}" for each in ended.terminated if each.error]
    kept = [f"{each.instance_id}: {each.kept}" for each in ended.terminated if each.kept]
    return (*failed, *kept)


def _is_listening(home: Home) -> bool:
    """Answers at once, while the client waits some time for a supervisor that restarts."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_TIMEOUT_S)
        try:
            probe.connect(str(home.gateway_socket))
        except OSError:
            return False
    return True


def _ask(home: Home, verb: Verb[RequestT, ResultT], timeout_s: float) -> ResultT:
    async def ask() -> ResultT:
        async with asyncio.timeout(timeout_s), await SupervisorClient.connect(home, SENDER) as client:
            return await client.call(verb, verb.request())

    return asyncio.run(ask())
