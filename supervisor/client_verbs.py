"""The verbs of a team as methods with types; ``SupervisorClient`` is one of these over a connection.

Each method is one line of ``supervisor.api.verbs.VERBS``: it takes that verb's request and gives its result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from actors.errors import from_wire
from supervisor.api import requests, results
from supervisor.api.requests import Request
from supervisor.api.results import Result
from supervisor.api.verbs import ProgressCallback, ignore_progress

_ResultT = TypeVar("_ResultT", bound=Result)
EVENT_POLL_S = 60.0


class TypedVerbs(ABC):
    @abstractmethod
    async def call(self, verb: str, request: Request, on_progress: ProgressCallback = ignore_progress) -> Result:
        """Runs one verb of ``VERBS``; its result is of the verb's type."""

    async def _typed(
        self,
        result: type[_ResultT],
        verb: str,
        request: Request,
        on_progress: ProgressCallback = ignore_progress,
    ) -> _ResultT:
        answer = await self.call(verb, request, on_progress)
        if not isinstance(answer, result):
            raise TypeError(f"{verb} gave a {type(answer).__name__}")
        return answer

    async def spawn(
        self, request: requests.SpawnRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnResult:
        return await self._typed(results.SpawnResult, "spawn", request, on_progress)

    async def spawn_batch(
        self, request: requests.SpawnBatchRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnBatchResult:
        return await self._typed(results.SpawnBatchResult, "spawn_batch", request, on_progress)

    async def spawn_instances_batch(
        self, instances: Sequence[requests.SpawnRequest], on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnBatchResult:
        """``spawn_batch`` of these; one that fails fails alone, so look at ``success`` of each."""
        return await self.spawn_batch(requests.SpawnBatchRequest(instances=list(instances)), on_progress)

    async def prewarm_resources(
        self, request: requests.PrewarmRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.PrewarmResult:
        return await self._typed(results.PrewarmResult, "prewarm_resources", request, on_progress)

    async def prewarm_instances(self, count: int, work_dir: str | None = None) -> results.PrewarmResult:
        """``count`` spare agents, for the directory given or the one last worked on."""
        return await self.prewarm_resources(requests.PrewarmRequest(instances=count, work_dir=work_dir))

    async def send(
        self, request: requests.SendRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SendResult:
        return await self._typed(results.SendResult, "send", request, on_progress)

    async def send_batch(
        self, request: requests.SendBatchRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SendBatchResult:
        return await self._typed(results.SendBatchResult, "send_batch", request, on_progress)

    async def read(
        self, request: requests.ReadRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.ReadResult:
        return await self._typed(results.ReadResult, "read", request, on_progress)

    async def list(
        self, request: requests.ListRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.ListResult:
        return await self._typed(results.ListResult, "list", request, on_progress)

    async def wait(
        self, request: requests.WaitRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.WaitResult:
        return await self._typed(results.WaitResult, "wait", request, on_progress)

    async def respond(
        self, request: requests.RespondRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.RespondResult:
        return await self._typed(results.RespondResult, "respond", request, on_progress)

    async def interrupt(
        self, request: requests.InterruptRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.InterruptResult:
        return await self._typed(results.InterruptResult, "interrupt", request, on_progress)

    async def terminate(
        self, request: requests.TerminateRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.TerminateResult:
        return await self._typed(results.TerminateResult, "terminate", request, on_progress)

    async def recycle(
        self, request: requests.RecycleRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.RecycleResult:
        return await self._typed(results.RecycleResult, "recycle", request, on_progress)

    async def restart(
        self, request: requests.RestartRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.RestartsResult:
        return await self._typed(results.RestartsResult, "restart", request, on_progress)

    async def git_batch(
        self, request: requests.GitBatchRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.GitBatchResult:
        return await self._typed(results.GitBatchResult, "git_batch", request, on_progress)

    async def git_operation(self, operation: requests.GitOperation) -> results.GitOutcome:
        """One operation of ``git_batch``; those that are called side by side share one git as a batch does.

        Raises what it was refused with; the files of a merge that conflicts are in the error's text.
        """
        batch = await self.git_batch(requests.GitBatchRequest(operations=[operation]))
        (outcome,) = batch.results
        if outcome.error is not None:
            raise from_wire(outcome.error.model_dump())
        return outcome

    async def resume(
        self, request: requests.ResumeRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.ResumeResult:
        return await self._typed(results.ResumeResult, "resume", request, on_progress)

    async def gc(
        self, request: requests.GcRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.GcResult:
        return await self._typed(results.GcResult, "gc", request, on_progress)

    async def get_performance(
        self, request: requests.GetPerformanceRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.GetPerformanceResult:
        return await self._typed(results.GetPerformanceResult, "get_performance", request, on_progress)

    async def optimize_settings(
        self, request: requests.OptimizeSettingsRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.OptimizeSettingsResult:
        return await self._typed(results.OptimizeSettingsResult, "optimize_settings", request, on_progress)

    async def events(
        self, *kinds: requests.EventKind, poll_s: float = EVENT_POLL_S
    ) -> AsyncIterator[results.TeamEvent]:
        """What the team tells of itself from now on, as it happens; without ``kinds`` all of it.

        Goes on over lost connections for as long as the client reaches the team. Who does not read for long misses
        the oldest events.
        """
        cursor, wanted = None, {"kinds": list(kinds)} if kinds else {}
        while True:
            request = requests.EventsRequest(cursor=cursor, timeout_seconds=poll_s, **wanted)
            heard = await self._typed(results.EventsResult, "events", request)
            cursor = heard.cursor
            for event in heard.events:
                yield event

    async def hosts(self) -> results.HostsResult:
        """The machines of the team."""
        return await self._typed(results.HostsResult, "hosts", requests.HostsRequest())

    async def drain(
        self, request: requests.DrainRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.DrainResult:
        return await self._typed(results.DrainResult, "drain", request, on_progress)

    async def status(self) -> results.StatusResult:
        """How the team itself is."""
        return await self._typed(results.StatusResult, "status", requests.StatusRequest())

    async def shutdown(self) -> results.TerminateResult:
        """Ends every instance gently; the supervisor itself stays until the team is brought down."""
        return await self._typed(results.TerminateResult, "shutdown", requests.ShutdownRequest())
