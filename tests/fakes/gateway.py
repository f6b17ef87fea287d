"""A fake of the supervisor's client, and what the verbs of a team answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequestError, TeamNotRunningError, UnknownInstanceError
from actors.home import Home
from actors.status import Status
from supervisor.api import results
from supervisor.api.requests import EventKind, ListRequest, Request, Role
from supervisor.api.results import Result
from supervisor.api.validation import parse
from supervisor.api.verbs import ProgressCallback, RequestT, ResultT, Verb, ignore_progress
from supervisor.metrics import views
from supervisor.metrics.health import HealthFinding
from supervisor.rpc.client import SupervisorClient
from tests.fakes.metrics import host, snapshot, tuning, window

Reply = Result | Exception | Callable[[Any, ProgressCallback], Awaitable[Result]]


class FakeClient(SupervisorClient):
    """Answers each verb with what ``replies`` holds for it, and remembers what it was asked. Connected at first."""

    def __init__(self, **replies: Reply) -> None:
        super().__init__(Home(Path("/nowhere")), "tests")
        self.replies = {**REPLIES, **replies}
        self.asked: list[tuple[str, Request]] = []
        self.tokens: list[str | None] = []
        """Of the calls in ``asked``."""
        self.running = True
        self._open, self._lost = asyncio.Event(), asyncio.Event()
        self._open.set()
        self.told: asyncio.Queue[results.TeamEvent] = asyncio.Queue()
        self.goes_after_event = False
        self.listened: list[tuple[EventKind, ...]] = []

    @property
    def closed(self) -> bool:
        return not self._open.is_set()

    async def open(self) -> None:
        if not self.running:
            raise TeamNotRunningError("No team.")
        self._lost.clear()
        self._open.set()

    def lose(self) -> None:
        """The connection ends."""
        self._open.clear()
        self._lost.set()

    async def close(self) -> None:
        self.lose()

    async def until_lost(self) -> None:
        await self._lost.wait()

    async def until_connected(self) -> None:
        await self._open.wait()

    async def call_json(
        self,
        verb: Verb[Any, Any],
        arguments: Mapping[str, Any],
        on_progress: ProgressCallback = ignore_progress,
        token: str | None = None,
    ) -> dict[str, Any]:
        """As the supervisor does, which checks what it is asked."""
        request = parse(verb.request, arguments)
        self.asked.append((verb.name, request))
        self.tokens.append(token)
        reply = self.replies[verb.name]
        if isinstance(reply, Exception):
            raise reply
        result = await reply(request, on_progress) if callable(reply) else reply
        if isinstance(result, results.ListResult) and isinstance(request, ListRequest) and request.instance_ids:
            result = listing(*(_of_name(result.instances, each) for each in request.instance_ids))
        return result.model_dump(mode="json", by_alias=True)

    async def call(
        self, verb: Verb[RequestT, ResultT], request: RequestT, on_progress: ProgressCallback = ignore_progress
    ) -> ResultT:
        arguments = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        return verb.result.model_validate(await self.call_json(verb, arguments, on_progress))

    async def events(
        self,
        *kinds: EventKind,
        instance_ids: Sequence[str] | None = None,
        cursor: str | None = None,
        poll_s: float = 60.0,
    ) -> AsyncIterator[results.TeamEvent]:
        """What a test puts into ``told``, of these kinds."""
        self.listened.append(kinds)
        while True:
            event = await self.told.get()
            if event.kind in kinds:
                yield event
            if self.goes_after_event:
                raise TeamNotRunningError("the team was brought down")

    def only_request(self) -> Request:
        ((_, request),) = self.asked
        return request


def _of_name(instances: Sequence[results.InstanceInfo], given: str) -> results.InstanceInfo:
    """As the team finds it by its id or name."""
    found = [each for each in instances if given in (each.instance_id, each.name)]
    if not found:
        raise UnknownInstanceError(f"There is no instance {given}. Call list to see the team.")
    if len(found) > 1:
        ids = ", ".join(each.instance_id for each in found)
        raise InvalidRequestError(f"Several instances have the name {given}: say which one, {ids}.")
    return found[0]


def info(instance_id: str = "spec_1_1_1", **changes: Any) -> results.InstanceInfo:
    fields: dict[str, Any] = {
        "instance_id": instance_id,
        "role": Role.SPECIALIST,
        "agent": "demo",
        "status": Status.READY,
        "since": "2026-11-01T10:00:00.000+00:00",
        "session_name": instance_id,
        "working_directory": f"/home/worktrees/{instance_id}",
        "branch": f"phalanx/{instance_id}",
        "host": "local",
    }
    return results.InstanceInfo(**{**fields, **changes})


def described(instance_id: str = "spec_1_1_1", **changes: Any) -> results.InstanceDescription:
    fields: dict[str, Any] = {
        "instance_id": instance_id,
        "role": Role.SPECIALIST,
        "agent": "demo",
        "status": Status.READY,
        "work_dir": "/src",
    }
    return results.InstanceDescription(**{**fields, **changes})


def asking(instance_id: str = "spec_1_1_2", tool: str = "Bash", **tool_input: Any) -> results.InstanceInfo:
    """An instance that waits for a permission."""
    return info(
        instance_id,
        status=Status.WAITING_PERMISSION,
        needs_attention=True,
        permission=results.Permission(permission_id="4be0", tool=tool, input=tool_input),
    )


def listing(*instances: results.InstanceInfo) -> results.ListResult:
    return results.ListResult(
        needs_attention=[each.instance_id for each in instances if each.needs_attention],
        counts=Counter(str(each.status) for each in instances),
        instances=list(instances),
    )


def spawned(instance_id: str = "spec_1_1_1", **changes: Any) -> results.SpawnResult:
    fields: dict[str, Any] = {
        "instance_id": instance_id,
        "session_name": instance_id,
        "role": Role.SPECIALIST,
        "workspace_mode": "isolated",
        "working_directory": f"/home/worktrees/{instance_id}",
        "branch": f"phalanx/{instance_id}",
        "status": Status.BUSY,
    }
    return results.SpawnResult(**{**fields, **changes})


def batch(*members: results.SpawnResult | results.ErrorInfo) -> results.SpawnBatchResult:
    outcomes = [
        results.SpawnOutcome(success=False, error=member)
        if isinstance(member, results.ErrorInfo)
        else results.SpawnOutcome(success=True, **member.model_dump())
        for member in members
    ]
    return results.SpawnBatchResult(
        success=all(outcome.success for outcome in outcomes),
        instances=outcomes,
        performance=results.SpawnPerformance(duration=1234.5, avg_time_per_instance=617.2, concurrent_spawns=2),
    )


def sent(instance_id: str = "spec_1_1_1", **changes: Any) -> results.SendResult:
    fields = {"success": True, "instance_id": instance_id, "message_id": "msg_1", "status": "submitted", **changes}
    return results.SendResult(**fields)


def refused(error: results.ErrorInfo) -> results.SendResult:
    return sent(success=False, message_id=None, status=None, error=error)


def sends(*members: results.SendResult) -> results.SendBatchResult:
    return results.SendBatchResult(
        success=all(member.success for member in members),
        results=list(members),
        performance=results.SendPerformance(
            total_messages=len(members), queued=len(members), immediate=0, avg_batch_size=1.0
        ),
    )


def entry(text: str, kind: str = "answer", **changes: Any) -> results.ConversationEntry:
    return results.ConversationEntry(kind=kind, at="2026-11-01T10:00:01.000Z", text=text, **changes)  # type: ignore[arg-type]


def git_outcome(**changes: Any) -> results.GitOutcome:
    return results.GitOutcome(**{"type": "status", "workspace_dir": "/src", "success": True, **changes})


def git_done(*outcomes: results.GitOutcome) -> results.GitBatchResult:
    return results.GitBatchResult(
        success=all(outcome.success for outcome in outcomes),
        results=list(outcomes),
        performance=results.GitPerformance(
            total_operations=len(outcomes),
            cache_hits=sum(outcome.cached for outcome in outcomes),
            avg_git_op_time=3.5,
            queue_size=0,
        ),
    )


def terminated_with_saved_work(repository: str | None = "/src") -> results.TerminatedInstance:
    return results.TerminatedInstance(
        instance_id="spec_1_1_1",
        status=Status.STOPPED,
        workspace_removed=True,
        saved_ref="refs/phalanx/saved/spec_1_1_1",
        repository=repository,
    )


def collected(path: str, **changes: Any) -> results.CollectedItem:
    return results.CollectedItem(**{"what": "worktree", "path": path, "instance_id": "spec_1_1_1", **changes})


def tuned(spawns: int = 5) -> results.TunedSettings:
    return views.tuned(tuning(max_concurrent_spawns=spawns))


def performance(*findings: HealthFinding) -> results.GetPerformanceResult:
    """Of a team of two instances on one machine, with these findings."""
    bucket = window(spawn=[1.5])
    metrics = views.metrics(
        snapshot(window=bucket, statuses={"ready": 2}, alive=2, hosts=(host(0.25, load_1m=0.5, instances=2),))
    )
    return results.GetPerformanceResult(
        metrics=metrics,
        performance=views.performance(findings),
        recommendations=views.recommendations(findings),
        queues=metrics.queues,
        messages=metrics.messages,
        settings=tuned(),
        auto=[results.AutoStep(at="2026-11-01T10:00:00.000+00:00", before=5, after=6, reason="12 spawns wait")],
        history=[views.history_point(bucket, 10)],
    )


REPLIES: dict[str, Reply] = {
    "spawn": spawned(),
    "spawn_batch": batch(spawned("spec_1_1_1"), spawned("spec_1_1_2")),
    "send": sent(),
    "send_batch": sends(sent("spec_1_1_1"), sent("spec_1_1_2", message_id="msg_2")),
    "read": results.ReadResult(
        instance_id="spec_1_1_1", source="conversation", entries=[entry("It is done.")], cursor="c:7"
    ),
    "list": listing(asking(command="rm -r build"), info()),
    "changes": results.ChangesResult(
        cursor="5f1e.2",
        complete=True,
        instances=[asking(command="rm -r build"), info()],
        needs_attention=["spec_1_1_2"],
    ),
    "screen": results.ScreenResult(
        instance_id="spec_1_1_1",
        version="a1b2",
        columns=20,
        rows=2,
        lines=["\x1b[1m❯\x1b[0m npm test\x1b[0m", ""],
        cursor=results.CursorPlace(column=10, row=0),
        title="demo",
    ),
    "type": results.TypeResult(instance_id="spec_1_1_1"),
    "describe": results.DescribeResult(instances=[described()]),
    "wait": results.WaitResult(reached=True, instances=[info()]),
    "respond": results.RespondResult(
        instance_id="spec_1_1_2",
        decision="allow",
        permission=results.Permission(permission_id="4be0", tool="Bash", input={"command": "ls", "timeout": None}),
        status=Status.BUSY,
    ),
    "interrupt": results.InterruptResult(instance_id="spec_1_1_1", interrupted=True, status=Status.READY),
    "terminate": results.TerminateResult(
        success=True,
        terminated=[
            results.TerminatedInstance(
                instance_id="spec_1_1_1",
                status=Status.STOPPED,
                workspace_removed=False,
                kept="/home/worktrees/spec_1_1_1: 2 commits are not merged",
            )
        ],
    ),
    "restart": results.RestartsResult(success=True, instance_id="spec_1_1_1", status=Status.READY, resumed=True),
    "git_batch": git_done(git_outcome(result={"branch": "main", "upstream": None}, cached=True)),
    "merge": results.MergeResult(
        success=True,
        into="main",
        commit="0" * 40,
        moved=True,
        order=["spec_1_1_1"],
        instances=[results.MergedWork(instance_id="spec_1_1_1", branch="phalanx/spec_1_1_1", state="merged")],
    ),
    "sync": results.SyncResult(
        success=True, instances=[results.SyncedWork(instance_id="spec_1_1_1", from_branch="main", state="synced")]
    ),
    "resume": results.ResumeResult(
        success=True,
        instances=[results.ResumedInstance(instance_id="spec_1_1_1", status=Status.READY, resumed=True)],
    ),
    "get_performance": performance(),
    "recycle": results.RecycleResult(instance_id="spec_1_1_1", status=Status.READY, summary="all is well"),
    "limit": results.LimitResult(
        instance_id="spec_1_1_1",
        limits=results.LimitsInfo(tokens=2000, models=["opus"]),
        tokens=results.Tokens(input=10, counted=1000, limit=2000),
    ),
    "prewarm_resources": results.PrewarmResult(success=True, work_dir="/src", instances=3, worktrees=0),
    "metrics": results.MetricsResult(text="phalanx_score 100.0\n", content_type="text/plain"),
    "optimize_settings": results.OptimizeSettingsResult(old_settings=tuned(), new_settings=tuned(spawns=10)),
    "hosts": results.HostsResult(
        hosts=[
            results.HostInfo(
                host="worker", address="10.0.0.2", status="up", instances=1, slots=8, supervisor=False, labels={}
            )
        ]
    ),
    "drain": results.DrainResult(host="worker", drained=True, remaining=[]),
    "gc": results.GcResult(dry_run=False, items=[collected("/home/worktrees/spec_1_1_1")]),
    "identify": results.IdentifyResult(instance_id="spec_1_1_1", role=Role.SPECIALIST),
    "status": results.StatusResult(
        home="/home/me/.phalanx",
        version="0.1.0",
        supervisor_pid=4711,
        started_at="2026-11-01T09:00:00.000+00:00",
        store="memory",
        counts={"ready": 2},
        spawns_running=0,
        spawns_waiting=0,
        max_concurrent_spawns=5,
    ),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "spawn": {"role": "specialist", "workDir": "/src", "context": "Write tests."},
    "spawn_batch": {"instances": [{"role": "specialist", "workDir": "/src", "context": "Write tests."}] * 2},
    "send": {"instanceId": "spec_1_1_1", "message": "go on"},
    "send_batch": {"messages": [{"instanceId": "spec_1_1_1", "message": "go on"}]},
    "read": {"instanceId": "spec_1_1_1"},
    "list": {},
    "wait": {"instanceIds": ["spec_1_1_1"]},
    "respond": {"instanceId": "spec_1_1_2", "decision": "allow"},
    "interrupt": {"instanceId": "spec_1_1_1"},
    "terminate": {"instanceId": "spec_1_1_1"},
    "restart": {"instanceId": "spec_1_1_1"},
    "git_batch": {"operations": [{"type": "status", "workspaceDir": "/src"}]},
    "merge": {"instanceIds": ["spec_1_1_1"]},
    "sync": {"instanceIds": ["spec_1_1_1"]},
    "get_performance": {},
    "optimize_settings": {"maxConcurrentSpawns": 10},
    "recycle": {"instanceId": "spec_1_1_1"},
    "limit": {"instanceId": "spec_1_1_1", "limits": {"tokens": 2000}},
    "prewarm_resources": {"instances": 3, "workDir": "/src"},
}
"""What each tool takes at least."""
