"""The verbs of a team: one table of what each takes, returns and promises, and the protocol of services that run verbs.

``TeamVerbs`` is the table. The client's methods, the check of requests, the time limits and the schemas of tools are
derived from it. Written by hand for each verb are its handler (a method of ``Supervisor`` or of a ``VerbService``), its
tool (``mcp_entry.tools``) and its command (``mcp_entry.cli``). ``VERBS`` is the same table by names on the wire. The
supervisor passes a call of a service's verb to that ``VerbService``, and begins and ends the services.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from supervisor.api import requests, results
from supervisor.api.requests import Request
from supervisor.api.results import Result

ProgressCallback = Callable[[int, int, str], None]
"""Called with the number done so far, the total, and a word on what was just done, or what it waits for. A total of 0
or 1: nothing is counted."""
RequestT = TypeVar("RequestT", bound=Request)
ResultT = TypeVar("ResultT", bound=Result)


def ignore_progress(done: int, total: int, what: str) -> None:
    """For callers that do not show progress."""


class Tally:
    """The progress of a call for several members: each that is done counts one."""

    def __init__(self, tell: ProgressCallback, total: int, what: str) -> None:
        """Tells at once that ``what`` begins."""
        self._tell = tell
        self._total = total
        self._done = 0
        self.waits(what)

    def is_done(self, what: str) -> None:
        self._done += 1
        self.waits(what)

    def waits(self, what: str) -> None:
        """Tells something else of a member than that it is done."""
        self._tell(self._done, self._total, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    sender: str
    """Shown in the header line of messages."""
    token: str | None = None
    """Of the instance that calls; None: the user."""
    instance_id: str = ""
    """The instance that calls, as its token shows; empty: the user."""
    client: str = ""
    """Id of the connection: callers take turns by it, also when they have the same sender."""
    directory: str = ""
    """The working directory of the caller's process; empty when it is not known."""
    progress: ProgressCallback = ignore_progress


class Verb(Generic[RequestT, ResultT]):
    """One verb. As an attribute of a ``TeamVerbs`` object it is the method that calls the verb."""

    def __init__(
        self,
        models: Callable[[], tuple[type[RequestT], type[ResultT]]],
        *,
        read_only: bool = False,
        repeatable: bool = False,
        measured: bool = False,
        timeout_s: float = 30.0,
        each_s: float = 0.0,
        members: str = "",
        alike: bool = False,
        name: str = "",
    ) -> None:
        """``models``: what it takes and returns, asked for when the verb is first used. ``read_only``: it changes
        nothing, so a call is cancelled when its client goes away. ``repeatable``: two calls have the effect of one, so
        the client calls again when the connection broke; every ``read_only`` verb is. ``measured``: it waits for no
        agent unless it is asked to, so the duration of its calls shows how quick the supervisor is (``Timing.CALL``).
        ``timeout_s``: how long a client waits for the answer, beyond the time that the request asks to wait, with
        ``each_s`` more for every member of the argument ``members``. ``alike``: what its progress counts takes about
        as long each, so the pace of those done tells how long the rest takes. ``name``: the name on the wire, if it is
        not the attribute's."""
        self._models = models
        self.read_only = read_only
        self.repeatable = repeatable or read_only
        self.measured = measured
        self.timeout_s = timeout_s
        self.each_s = each_s
        self.members = members
        self.alike = alike
        self.name = name

    @cached_property
    def request(self) -> type[RequestT]:
        return self._models()[0]

    @cached_property
    def result(self) -> type[ResultT]:
        return self._models()[1]

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
    """The method ``team.send`` in ``await team.send(SendRequest(...))``."""

    team: TeamVerbs
    verb: Verb[RequestT, ResultT]

    async def __call__(
        self, request: RequestT | None = None, on_progress: ProgressCallback = ignore_progress
    ) -> ResultT:
        """``request`` may be left out when it needs no field. Raises ``PhalanxError``."""
        return await self.team.call(self.verb, self.verb.request() if request is None else request, on_progress)


class TeamVerbs(ABC):
    """The table of verbs. Its subclass ``SupervisorClient`` has each of them as a method."""

    @abstractmethod
    async def call(
        self, verb: Verb[RequestT, ResultT], request: RequestT, on_progress: ProgressCallback = ignore_progress
    ) -> ResultT:
        """Runs one verb. ``on_progress`` is called in the event loop. Raises ``PhalanxError``."""

    # Verbs that start or end agents take long; a spawn also waits for the spawns before it.
    spawn = Verb(lambda: (requests.SpawnRequest, results.SpawnResult), timeout_s=900)
    spawn_batch = Verb(
        lambda: (requests.SpawnBatchRequest, results.SpawnBatchResult),
        timeout_s=900,
        each_s=120,
        members="instances",
        alike=True,
    )
    prewarm_resources = Verb(
        lambda: (requests.PrewarmRequest, results.PrewarmResult), repeatable=True, timeout_s=3700, alike=True
    )
    send = Verb(lambda: (requests.SendRequest, results.SendResult), measured=True)
    send_batch = Verb(lambda: (requests.SendBatchRequest, results.SendBatchResult), measured=True)
    read = Verb(lambda: (requests.ReadRequest, results.ReadResult), read_only=True, measured=True)
    screen = Verb(lambda: (requests.ScreenRequest, results.ScreenResult), read_only=True)
    type = Verb(lambda: (requests.TypeRequest, results.TypeResult))
    list = Verb(lambda: (requests.ListRequest, results.ListResult), read_only=True, measured=True)
    changes = Verb(lambda: (requests.ChangesRequest, results.ChangesResult), read_only=True)
    describe = Verb(lambda: (requests.DescribeRequest, results.DescribeResult), read_only=True, measured=True)
    wait = Verb(lambda: (requests.WaitRequest, results.WaitResult), read_only=True)
    respond = Verb(lambda: (requests.RespondRequest, results.RespondResult))
    interrupt = Verb(lambda: (requests.InterruptRequest, results.InterruptResult), timeout_s=60)
    terminate = Verb(
        lambda: (requests.TerminateRequest, results.TerminateResult),
        timeout_s=300,
        each_s=60,
        members="instanceIds",
        alike=True,
    )
    limit = Verb(lambda: (requests.LimitRequest, results.LimitResult), repeatable=True)
    recycle = Verb(lambda: (requests.RecycleRequest, results.RecycleResult), timeout_s=900)
    restart = Verb(
        lambda: (requests.RestartRequest, results.RestartsResult),
        timeout_s=900,
        each_s=60,
        members="instanceIds",
        alike=True,
    )
    git_batch = Verb(
        lambda: (requests.GitBatchRequest, results.GitBatchResult), timeout_s=900, each_s=30, members="operations"
    )
    # Checks run in a merge; see the setting merge_check_timeout_s.
    merge = Verb(
        lambda: (requests.MergeRequest, results.MergeResult), timeout_s=3600, each_s=600, members="instanceIds"
    )
    sync = Verb(lambda: (requests.SyncRequest, results.SyncResult), timeout_s=300, each_s=10, members="instanceIds")
    hosts = Verb(lambda: (requests.HostsRequest, results.HostsResult), read_only=True)
    drain = Verb(lambda: (requests.DrainRequest, results.DrainResult), repeatable=True)
    resume = Verb(lambda: (requests.ResumeRequest, results.ResumeResult), timeout_s=900, alike=True)
    gc = Verb(lambda: (requests.GcRequest, results.GcResult), timeout_s=300)
    status = Verb(lambda: (requests.StatusRequest, results.StatusResult), read_only=True, measured=True)
    get_performance = Verb(lambda: (requests.GetPerformanceRequest, results.GetPerformanceResult), read_only=True)
    metrics = Verb(lambda: (requests.MetricsRequest, results.MetricsResult), read_only=True)
    optimize_settings = Verb(
        lambda: (requests.OptimizeSettingsRequest, results.OptimizeSettingsResult), repeatable=True
    )
    next_events = Verb(lambda: (requests.EventsRequest, results.EventsResult), read_only=True, name="events")
    identify = Verb(lambda: (requests.IdentifyRequest, results.IdentifyResult), read_only=True, measured=True)
    shutdown = Verb(lambda: (requests.ShutdownRequest, results.TerminateResult), timeout_s=120, alike=True)


VERBS: Mapping[str, Verb[Any, Any]] = MappingProxyType(
    {verb.name: verb for verb in vars(TeamVerbs).values() if isinstance(verb, Verb)}
)


class Dispatcher(Protocol):
    """What the gateway needs of the supervisor."""

    async def call(self, verb: str, request: Request, caller: Caller) -> Result:
        """Runs one verb of ``VERBS`` with a request of its type. Raises ``PhalanxError`` to refuse it."""
        ...


Handler = Callable[[Any, Caller], Awaitable[Result]]
"""Runs one verb, with a request of the verb's type and its caller. Raises ``PhalanxError`` to refuse it."""


class VerbService(Protocol):
    """One subject of the team with verbs of its own, besides the instances, whose verbs the supervisor runs itself."""

    @property
    def verbs(self) -> Mapping[str, Handler]: ...

    async def begin(self) -> None:
        """Called once, after the state was loaded and before the first verb."""
        ...

    async def end(self) -> None:
        """Stops the service's tasks; what it has made stays."""
        ...
