"""What every part of the bench uses: scratch directories, the real Claude Code, teams, batches of instances, times."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

CLAUDE, OLDEST_CLAUDE = (
    Path(f".venv/claude/{which}/node_modules/.bin/claude").absolute() for which in ("newest", "oldest")
)
"""The newest version that is supported, which all parts run, and the oldest."""
MESSAGES = 200
MINUTES = 60.0
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Bench:
    """``messages``: how many the part of single messages sends; ``minutes``: how long that of hours takes."""

    claude: Path = CLAUDE
    messages: int = MESSAGES
    minutes: float = MINUTES

    def say(self, what: str) -> None:
        """Shows the current step on stderr."""
        console.print(f"  {what} …", markup=False)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory with a short path, which a home needs."""
        directory = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    @asynccontextmanager
    async def team(self, **settings: str) -> AsyncIterator[Team]:
        """A team with the given environment variables; its Claude Code talks to a stand-in of the API."""
        async with self.team_that_asks(ApiStandIn(), **settings) as team:
            yield team

    @asynccontextmanager
    async def team_that_asks(self, standin: ApiStandIn, **settings: str) -> AsyncIterator[Team]:
        with self.scratch() as directory, standin as api:
            environment = standin_environment(api.url, make_claude_home(directory / "user"))
            variables = {"PHALANX_CLAUDE_COMMAND": str(self.claude), **environment, **settings}
            team = await asyncio.to_thread(bring_up, directory, **variables)
            try:
                yield team
            finally:
                await asyncio.to_thread(team.runtime.down, lambda step: None)

    def claude_version(self) -> str:
        shown = subprocess.run([self.claude, "--version"], check=True, capture_output=True, text=True).stdout
        return shown.split()[0]


async def timed(work: Awaitable[_Result]) -> tuple[float, _Result]:
    """How long it took in ms, and its result."""
    begun = time.perf_counter()
    result = await work
    return (time.perf_counter() - begun) * 1000, result


async def few_at_once(
    at_once: int, work: Callable[[_Given], Awaitable[_Result]], given: Iterable[_Given]
) -> list[_Result]:
    """What ``work`` makes of each, in their order."""
    turn = asyncio.Semaphore(at_once)

    async def one(each: _Given) -> _Result:
        async with turn:
            return await work(each)

    return await asyncio.gather(*map(one, given))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``took_s``: from the call to the proof of the last first message."""

    took_s: float
    ids: list[str]
    from_pool: int


async def until_idle(client: SupervisorClient, ids: Sequence[str], within_s: float) -> None:
    """Raises ``RuntimeError`` when not all of them are by then."""
    waited = await client.wait(requests.WaitRequest(instance_ids=list(ids), timeout_seconds=within_s))
    if not waited.reached:
        raise RuntimeError(f"not idle after {within_s:.0f} s: {waited.instances}")


async def message_each(client: SupervisorClient, ids: Sequence[str], within_s: float) -> None:
    """One call with a message for each; returns when all are proved. Raises ``RuntimeError`` when one is not."""
    messages = [requests.BatchMessage(instance_id=one, message=f"Report, {one}.") for one in ids]
    sent = await client.send_batch(requests.SendBatchRequest(messages=messages, wait=True, timeout_seconds=within_s))
    if not sent.success:
        raise RuntimeError(f"not all messages arrived: {[one.reason for one in sent.results if one.reason]}")


async def start_batch(client: SupervisorClient, members: Sequence[requests.SpawnRequest]) -> Batch:
    """Raises ``RuntimeError`` unless all of them start."""
    request = requests.SpawnBatchRequest(instances=list(members))
    took_ms, spawned = await timed(client.spawn_batch(request))
    if not spawned.success:
        why = [one.error for one in spawned.instances if one.error]
        raise RuntimeError(f"{len(why)} of {len(members)} did not start: {why[:3]}")
    ids = [one.instance_id or "" for one in spawned.instances]
    return Batch(took_s=took_ms / 1000, ids=ids, from_pool=spawned.performance.from_pool)
