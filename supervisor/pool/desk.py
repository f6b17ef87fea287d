"""The pool as a subject of the supervisor: ``prewarm_resources``, and its begin and end."""

from __future__ import annotations

from collections.abc import Mapping

from actors.errors import InvalidRequestError
from supervisor.api.requests import PrewarmRequest
from supervisor.api.results import PrewarmResult
from supervisor.api.verbs import Caller, Handler
from supervisor.pool.pool import Pool
from supervisor.pool.recipe import Recipe
from supervisor.spawning.work_dirs import WorkDirPolicy

_MOST_S = 3600.0


class PoolDesk:
    """A ``Desk``."""

    def __init__(self, pool: Pool, work_dirs: WorkDirPolicy, timeout_s: float) -> None:
        """``timeout_s``: longest that one agent may take to its prompt."""
        self._pool = pool
        self._work_dirs = work_dirs
        self._timeout_s = timeout_s

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"prewarm_resources": self.prewarm}

    async def prewarm(self, request: PrewarmRequest, caller: Caller) -> PrewarmResult:
        work_dir = await self._work_dirs.checked(self._directory(request, caller))
        recipe = Recipe(
            work_dir=work_dir,
            agent=request.agent or self._pool.default_agent,
            model=request.model,
            permission_mode=request.permission_mode,
            environment=tuple(sorted(request.env.items())),
        )
        total = (request.instances or 0) + (request.number_of_worktrees or 0)
        ready = await self._pool.fill(
            recipe,
            request.instances,
            request.number_of_worktrees,
            lambda done, what: caller.progress(done, total, what),
            min(self._timeout_s * (total + 1), _MOST_S),
        )
        return PrewarmResult(
            success=not ready.errors,
            work_dir=str(work_dir),
            instances=ready.instances,
            worktrees=ready.worktrees,
            taken=ready.taken,
            errors=list(ready.errors),
        )

    def _directory(self, request: PrewarmRequest, caller: Caller) -> str:
        found = request.work_dir or str(self._pool.last_work_dir or caller.directory)
        if not found:
            raise InvalidRequestError("No instance has worked anywhere yet: give workDir, the directory to prepare.")
        return found

    async def begin(self) -> None:
        await self._pool.begin()

    async def end(self) -> None:
        await self._pool.end()
