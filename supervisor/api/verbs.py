"""The verbs of a team: one table of what each takes, gives and promises, and the services that carry them out.

``TeamVerbs`` is the table. Everything else is taken from it: the client's methods, the MCP tools, the command line and
the supervisor's check of requests. ``VERBS`` is the same by names, as they stand on the wire.

The supervisor runs verbs. It hands each call of one of a service's verbs to that ``VerbService``, and begins and ends
the services.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from supervisor.api import requests, results
from supervisor.api.requests import Request
from supervisor.api.results import Result

ProgressCallback = Callable[[int, int, str], None]
"""Done so far, total, and a word on what was just done."""
RequestT = TypeVar("RequestT", bound=Request)
ResultT = TypeVar("ResultT", bound=Result)


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


class Verb(Generic[RequestT, ResultT]):
    """One verb. Read from a ``TeamVerbs`` object it is the method that calls the verb."""

    def __init__(
        self,
        request: type[RequestT],
        result: type[ResultT],
        *,
        looks: bool = False,
        repeatable: bool = False,
        timeout_s: float = 30.0,
        each_s: float = 0.0,
        members: str = "",
        name: str = "",
    ) -> None:
        """``looks``: changes nothing, so a call of it is cancelled when its client goes away. ``repeatable``: does no
        more when it is called again. ``timeout_s``: how long a client waits for the answer, beside what the request
        asks to wait for, and ``each_s`` more for every member of the argument ``members``. ``name``: on the wire, when
        it is not that of the attribute."""
        self.request = request
        self.result = result
        self.looks = looks
        self.repeatable = repeatable or looks
        self.timeout_s = timeout_s
        self.each_s = each_s
        self.members = members
        self.name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @overload
    def __get__(self, team: None, owner: type) -> Self: ...
    @overload
    def __get__(self, team: TeamVerbs, owner: type) -> VerbMethod[RequestT, ResultT]: ...
    def __get__(self, team: TeamVerbs | None, owner: type) -> Self | VerbMethod[RequestT, ResultT]:
        return self if team is None else VerbMethod(team, self)


@dataclass(frozen=True, slots=True)
class VerbMethod(Generic[RequestT, ResultT]):
    """``await team.send(SendRequest(...))`` calls the verb ``send`` of a team."""

    team: TeamVerbs
    verb: Verb[RequestT, ResultT]

    async def __call__(
        self, request: RequestT | None = None, on_progress: ProgressCallback = ignore_progress
    ) -> ResultT:
        """``request`` may be left out where none of its fields must be given. Raises ``PhalanxError``."""
        return await self.team.call(self.verb, self.verb.request() if request is None else request, on_progress)


class TeamVerbs(ABC):
    """The table of verbs. An object of it can call each of them as a method: see ``SupervisorClient``."""

    @abstractmethod
    async def call(
        self, verb: Verb[RequestT, ResultT], request: RequestT, on_progress: ProgressCallback = ignore_progress
    ) -> ResultT:
        """Runs one verb. ``on_progress`` is called in the event loop. Raises ``PhalanxError``."""

    # Verbs that start or end agents take long; spawns also wait for those before them.
    spawn = Verb(requests.SpawnRequest, results.SpawnResult, timeout_s=900)
    spawn_batch = Verb(
        requests.SpawnBatchRequest, results.SpawnBatchResult, timeout_s=900, each_s=120, members="instances"
    )
    prewarm_resources = Verb(requests.PrewarmRequest, results.PrewarmResult, timeout_s=3700)
    send = Verb(requests.SendRequest, results.SendResult)
    send_batch = Verb(requests.SendBatchRequest, results.SendBatchResult)
    read = Verb(requests.ReadRequest, results.ReadResult, looks=True)
    list = Verb(requests.ListRequest, results.ListResult, looks=True)
    wait = Verb(requests.WaitRequest, results.WaitResult, looks=True)
    respond = Verb(requests.RespondRequest, results.RespondResult)
    interrupt = Verb(requests.InterruptRequest, results.InterruptResult, timeout_s=60)
    terminate = Verb(
        requests.TerminateRequest, results.TerminateResult, timeout_s=300, each_s=60, members="instanceIds"
    )
    recycle = Verb(requests.RecycleRequest, results.RecycleResult, timeout_s=900)
    restart = Verb(requests.RestartRequest, results.RestartsResult, timeout_s=900, each_s=60, members="instanceIds")
    git_batch = Verb(requests.GitBatchRequest, results.GitBatchResult, timeout_s=900, each_s=30, members="operations")
    hosts = Verb(requests.HostsRequest, results.HostsResult, looks=True)
    drain = Verb(requests.DrainRequest, results.DrainResult, repeatable=True)
    resume = Verb(requests.ResumeRequest, results.ResumeResult, timeout_s=900)
    gc = Verb(requests.GcRequest, results.GcResult, timeout_s=300)
    status = Verb(requests.StatusRequest, results.StatusResult, looks=True)
    get_performance = Verb(requests.GetPerformanceRequest, results.GetPerformanceResult, looks=True)
    optimize_settings = Verb(requests.OptimizeSettingsRequest, results.OptimizeSettingsResult, repeatable=True)
    next_events = Verb(requests.EventsRequest, results.EventsResult, looks=True, name="events")
    shutdown = Verb(requests.ShutdownRequest, results.TerminateResult, timeout_s=120)


VERBS: Mapping[str, Verb[Any, Any]] = MappingProxyType(
    {verb.name: verb for verb in vars(TeamVerbs).values() if isinstance(verb, Verb)}
)


class Dispatcher(Protocol):
    """What the supervisor offers to its gateway."""

    async def call(self, verb: str, request: Request, caller: Caller) -> Result:
        """Runs one verb of ``VERBS`` with a request of its type. Raises ``PhalanxError`` when it refuses."""
        ...


Handler = Callable[[Any, Caller], Awaitable[Result]]
"""Runs one verb: takes a request of the verb's type and who asks."""


class VerbService(Protocol):
    """One further subject of the team with verbs of its own, beside the instances that the supervisor knows itself."""

    @property
    def verbs(self) -> Mapping[str, Handler]: ...

    async def begin(self) -> None:
        """Called once, when the state has been loaded and before the first verb."""
        ...

    async def end(self) -> None:
        """Stops what the service does by itself; what it has made stays."""
        ...
