"""What the page may ask of the team: calls of some verbs in the user's name, and the state of everybody's work.

``browser`` has checked who asks. The supervisor checks the arguments, as it does for every caller; here only that git
changes nothing, because no view of the page has it do so. Calls of browsers go over a connection of their own and are
limited in number, so that a page takes nothing from the calls of the agents.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from actors.errors import PhalanxError, RefusedError, TooManyCallsError
from supervisor.api.requests import GitBatchRequest, GitOperation, GitType
from supervisor.api.validation import parse
from supervisor.api.verbs import VERBS, TeamVerbs, Verb
from supervisor.rpc.client import SupervisorClient

logger = logging.getLogger(__name__)
Json = dict[str, Any]

PAGE_VERBS = frozenset(
    {
        "read",
        "send",
        "respond",
        "interrupt",
        "restart",
        "recycle",
        "terminate",
        "git_batch",
        "get_performance",
        "optimize_settings",
        "hosts",
        "drain",
        "screen",
        "type",
    }
)
"""Those that a view of the page calls; of ``git_batch`` what only reads."""
_READING: frozenset[GitType] = frozenset({"status", "diff", "log"})
_LISTING: tuple[Json, ...] = ({}, {"action": "list"})
"""Parameters with which ``branch`` only reads."""
MOST_CALLS = 32
"""Of all browsers at the same time."""
WORK_S = 5.0
"""How old the state of the work may be: to find it, git looks at every branch."""


class BrowserCalls:
    """All methods belong to one event loop."""

    def __init__(self, client: SupervisorClient) -> None:
        self._client = client
        self._running = 0
        self._work: Json | PhalanxError = {}
        self._work_at = -WORK_S
        self._looking = asyncio.Lock()

    async def call(self, verb: Verb[Any, Any], arguments: Mapping[str, Any]) -> Json:
        """The result as the supervisor gave it. Raises ``PhalanxError``; ``TooManyCallsError`` also when as many of
        all browsers run, ``RefusedError`` for an operation of git that would change something."""
        if verb is TeamVerbs.git_batch:
            _check_only_reads(parse(GitBatchRequest, arguments))
        if self._running >= MOST_CALLS:
            raise TooManyCallsError(f"{MOST_CALLS} calls of the page run already: wait for some of them.")
        if not verb.read_only:
            logger.info("the page calls %s", verb.name)
        self._running += 1
        try:
            return await self._client.call_json(verb, arguments)
        finally:
            self._running -= 1

    async def work(self) -> Json:
        """``{"instances": {id: WorkInfo}, "conflicts": [BranchConflict]}``, at most ``WORK_S`` old: everybody who asks
        meanwhile gets the same answer, or the same ``PhalanxError``."""
        async with self._looking:
            if time.monotonic() - self._work_at >= WORK_S:
                try:
                    self._work = await self._read_work()
                except PhalanxError as error:
                    self._work = error
                self._work_at = time.monotonic()
            if isinstance(self._work, PhalanxError):
                raise self._work.with_traceback(None)
            return self._work

    async def _read_work(self) -> Json:
        listed = await self.call(TeamVerbs.list, {"work": True})
        works = {each["instanceId"]: each["work"] for each in listed["instances"] if each.get("work")}
        return {"instances": works, "conflicts": listed.get("conflicts", [])}


def page_verb(name: str) -> Verb[Any, Any] | None:
    """None for what the page may not call."""
    return VERBS.get(name) if name in PAGE_VERBS else None


def _check_only_reads(request: GitBatchRequest) -> None:
    for operation in request.operations:
        if isinstance(operation, GitOperation) and not (
            operation.type in _READING or (operation.type == "branch" and operation.params in _LISTING)
        ):
            raise RefusedError(
                f"Nothing was done: the page only reads with git, and {operation.type} may change something."
            )
