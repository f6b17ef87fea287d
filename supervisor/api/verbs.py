"""The verbs of a team, and the services that carry them out.

The verbs of a team, once: what each takes and gives. Gateway, client, MCP tools and command line read this table.

``Verbs`` is what the supervisor offers to its gateway. Every verb has the form ``async verb(request, caller)``
and raises ``PhalanxError`` when it refuses.

A service: one further subject of the team with verbs of its own, beside the instances that the supervisor knows itself.

The supervisor takes its services as collaborators, hands each call of one of their verbs to it, and begins and ends
them. A service's verbs stand in ``supervisor.api.verbs.VERBS`` like all others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from supervisor.api import requests, results
from supervisor.api.requests import Request
from supervisor.api.results import Result

ProgressCallback = Callable[[int, int, str], None]
"""Done so far, total, and a word on what was just done."""


def ignore_progress(done: int, total: int, what: str) -> None:
    """For callers that do not show progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. ``sender`` stands in the header line of messages."""

    sender: str
    client: str = ""
    """Names the connection: callers of the same name take turns all the same."""
    directory: str = ""
    """Where the caller's process works; empty when it has not said so."""
    progress: ProgressCallback = ignore_progress


@dataclass(frozen=True, slots=True)
class Verb:
    request: type[Request]
    result: type[Result]


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "spawn": Verb(requests.SpawnRequest, results.SpawnResult),
        "spawn_batch": Verb(requests.SpawnBatchRequest, results.SpawnBatchResult),
        "prewarm_resources": Verb(requests.PrewarmRequest, results.PrewarmResult),
        "send": Verb(requests.SendRequest, results.SendResult),
        "send_batch": Verb(requests.SendBatchRequest, results.SendBatchResult),
        "read": Verb(requests.ReadRequest, results.ReadResult),
        "list": Verb(requests.ListRequest, results.ListResult),
        "wait": Verb(requests.WaitRequest, results.WaitResult),
        "respond": Verb(requests.RespondRequest, results.RespondResult),
        "interrupt": Verb(requests.InterruptRequest, results.InterruptResult),
        "terminate": Verb(requests.TerminateRequest, results.TerminateResult),
        "recycle": Verb(requests.RecycleRequest, results.RecycleResult),
        "restart": Verb(requests.RestartRequest, results.RestartsResult),
        "git_batch": Verb(requests.GitBatchRequest, results.GitBatchResult),
        "hosts": Verb(requests.HostsRequest, results.HostsResult),
        "drain": Verb(requests.DrainRequest, results.DrainResult),
        "resume": Verb(requests.ResumeRequest, results.ResumeResult),
        "gc": Verb(requests.GcRequest, results.GcResult),
        "status": Verb(requests.StatusRequest, results.StatusResult),
        "get_performance": Verb(requests.GetPerformanceRequest, results.GetPerformanceResult),
        "optimize_settings": Verb(requests.OptimizeSettingsRequest, results.OptimizeSettingsResult),
        "events": Verb(requests.EventsRequest, results.EventsResult),
        "shutdown": Verb(requests.ShutdownRequest, results.TerminateResult),
    }
)

LOOKING = frozenset({"read", "list", "wait", "status", "hosts", "get_performance", "events"})
"""Verbs that change nothing: they may be called again, and are cancelled when their client goes away."""
REPEATABLE = LOOKING | {"optimize_settings", "drain"}
"""Verbs that do no more when they are called again."""


class Verbs(Protocol):
    async def call(self, verb: str, request: Request, caller: Caller) -> Result:
        """Runs one verb of ``VERBS`` with a request of its type."""
        ...


Handler = Callable[[Any, Caller], Awaitable[Result]]
"""Runs one verb: takes a request of the verb's type and who asks."""


class VerbService(Protocol):
    @property
    def verbs(self) -> Mapping[str, Handler]: ...

    async def begin(self) -> None:
        """Called once, when the state has been loaded and before the first verb."""
        ...

    async def end(self) -> None:
        """Stops what the service does by itself; what it has made stays."""
        ...
