"""Admission control: which starts may begin, and when. ``build`` makes one of each class for the team.

- ``MemoryAdmission`` starts an agent only where free memory or a slot is left, above a reserve. A start holds its share
  until it ends, because an agent takes its memory little by little. Starts that do not fit wait, first come first
  served, and report why; spares are given up first. A waiting caller may be the only one that could make room, so no
  wait is long: when a host has been short for ``patience_s``, all that wait for it are refused together. Spares are
  given up one by one, too, while other programs here leave less free than the reserve.
- ``FairSemaphore`` caps how many run at once. It can be resized while in use. Callers take turns: a request for fifty
  permits does not keep out a request for one. Background work (refilling a pool) begins only while no caller waits for
  a permit or holds one. It leaves one permit free if the limit allows, so that the next caller need not wait.
- ``WorkDirPolicy`` says in which directories instances may work.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from actors.agents.catalog import AgentCatalog
from actors.concurrency import ChangeNotifier
from actors.errors import InvalidRequestError, PhalanxError, UnavailableError, WrongStateError
from actors.home import Home
from actors.host.host import Host

PATIENCE_S = 90.0
_POLL_S = 0.5
"""There is no notice when memory becomes free."""
LOOK_S = 30.0
"""Between two looks whether other programs have taken the memory that starts leave free."""
_REFUSED_TOGETHER_S = 5.0
"""A start so soon after a refusal is refused with it: the members of a batch arrive a few at a time."""
_MB = 1_000_000
_SLOTS_TAKEN = "each slot of this host is taken, by a spare that gives way or by an instance that is just ending"
ANSWERS_S = 5.0
"""A directory that does not answer for so long is on a file system that hangs."""
_THREADS = 32
"""A check that hangs keeps its thread."""
Tell = Callable[[str], None]
"""Called with the reason of a wait."""


def say_nothing(_what: str) -> None:
    """For starts in the background."""


def any_slots(_host: str) -> int:
    """On one machine, where memory alone counts."""
    return 1


def check_mode(mode: str | None, *, allow_bypass: bool) -> None:
    """The lead may be a Claude, so the user decides whether instances may work without asking. Holds for each start
    of an agent, also of spares and of one that has run before. Raises ``InvalidRequestError``."""
    if mode == "bypassPermissions" and not allow_bypass:
        raise InvalidRequestError(
            "This team may not start instances in the mode bypassPermissions, in which they ask for nothing. "
            "Choose another mode. The user allows it by allow_bypass_permissions = true in config.toml of the "
            "team's home, then `phalanx down` and `phalanx up`."
        )


class MemoryAdmission:
    def __init__(
        self,
        host: Host,
        catalog: AgentCatalog,
        agent_mb: int,
        reserve_mb: int,
        patience_s: float = PATIENCE_S,
        slots_left: Callable[[str], int] = any_slots,
    ) -> None:
        """``agent_mb``: most memory of an agent with its actor, unless the agent is known to take less. ``slots_left``:
        the free slots of a host of a cluster (empty: this one), without those of starts under way. Below zero, a spare
        has to give way."""
        self._host = host
        self._catalog = catalog
        self._agent_mb = agent_mb
        self._reserve_mb = reserve_mb
        self._patience_s = patience_s
        self._promised_mb = 0
        self._free_mb = 0
        self._queues: defaultdict[str, _MemoryQueue] = defaultdict(_MemoryQueue)
        """By host; the empty name is this host."""
        self._full: set[str] = set()
        self._found_full = ChangeNotifier()
        self._slots_left = slots_left

    @property
    def warning(self) -> str:
        """For people; empty while nobody waits."""
        waiting = self._queues[""].waiting
        if not waiting:
            return ""
        return (
            f"{waiting} {'agent waits' if waiting == 1 else 'agents wait'} to be started until there is memory for "
            f"them: {self._why_full(self._agent_mb)}. Terminate instances whose work is done, or lower "
            f"agent_memory_mb or memory_reserve_mb. After {self._patience_s:.0f} s they are given up."
        )

    async def full_hosts(self) -> Collection[str]:
        """Waits until a start has found no room, or other programs here have taken of the reserve; returns the hosts
        (empty: this one). Either is reported again while it lasts."""
        while not await self._found_full.until(lambda: bool(self._full), LOOK_S):
            with suppress(PhalanxError, TimeoutError):
                if not await self._has_room(0):
                    return {""}
        found, self._full = self._full, set()
        return found

    async def fits(self, agent: str) -> bool:
        """Whether one more agent could start now, with none waiting before it."""
        return not self._queues[""].waiting and self._slots_left("") > 0 and await self._has_room(self._need_mb(agent))

    @asynccontextmanager
    async def hold(
        self, agent: str, tell: Tell = say_nothing, host: str = "", *, replaces: bool = False
    ) -> AsyncIterator[None]:
        """Held while an agent starts. Raises ``UnavailableError`` when there is no room for ``patience_s``.

        ``host``: another host of a cluster; its slots are as many agents as fit into its memory. ``replaces``: another
        agent ends for this one. Then this start does not wait, and no other start gets the memory that becomes free.
        """
        if host:
            if not replaces:
                # An actor without a free slot would wait inside Ray, where no caller learns why.
                async with self._in_turn(host, 0, tell):
                    pass
            yield
            return
        need_mb = self._need_mb(agent)
        if replaces:
            self._promised_mb += need_mb
        else:
            async with self._in_turn("", need_mb, tell):
                self._promised_mb += need_mb
        try:
            yield
        finally:
            self._promised_mb -= need_mb

    @asynccontextmanager
    async def _in_turn(self, host: str, need_mb: int, tell: Tell) -> AsyncIterator[None]:
        """Inside there is room. Raises ``UnavailableError`` when there was none for ``patience_s``."""
        queue, waits = self._queues[host], False

        def why() -> str:
            return _SLOTS_TAKEN if host else self._why_full(need_mb)

        def wait() -> None:
            nonlocal waits
            queue.waiting += not waits
            waits = True
            tell(f"waits for room{f' on {host}' if host else ''}: {why()}")

        try:
            if queue.waiting:
                wait()
            async with queue.turn:
                while not (self._slots_left(host) >= 0 if host else await self._has_room(need_mb)):
                    wait()
                    if self._is_refused(queue):
                        raise UnavailableError(self._refusal(host, why()))
                    self._full.add(host)
                    self._found_full.announce()
                    await asyncio.sleep(_POLL_S)
                queue.short_since, queue.refused_at = None, 0.0
                yield
        finally:
            queue.waiting -= waits
            if not queue.waiting and not queue.refused_at:  # the start was cancelled
                queue.short_since = None

    def _is_refused(self, queue: _MemoryQueue) -> bool:
        """Whether there has been no room for so long that all waiting starts are refused."""
        now = time.monotonic()
        if queue.short_since is None or (queue.refused_at and now - queue.refused_at > _REFUSED_TOGETHER_S):
            queue.short_since, queue.refused_at = now, 0.0
        if now - queue.short_since <= self._patience_s:
            return False
        queue.refused_at = now
        return True

    def _refusal(self, host: str, why: str) -> str:
        if host:
            return f"There was no slot for another agent on {host} for {self._patience_s:.0f} s: {why}. Try again."
        return (
            f"There was no memory for another agent for {self._patience_s:.0f} s: {why}. Terminate instances whose "
            "work is done, then start it again. Or lower agent_memory_mb or memory_reserve_mb in config.toml, "
            "which holds from the next phalanx up on."
        )

    async def _has_room(self, need_mb: int) -> bool:
        load = await self._host.load()
        self._free_mb = load.memory_available_bytes // _MB - self._reserve_mb - self._promised_mb
        return self._free_mb >= need_mb and self._slots_left("") >= 0

    def _need_mb(self, agent: str) -> int:
        own_mb = self._catalog.named(agent).memory_mb
        return self._agent_mb if own_mb is None else min(self._agent_mb, own_mb)

    def _why_full(self, need_mb: int) -> str:
        if self._slots_left("") < 0:
            return _SLOTS_TAKEN
        return (
            f"{max(self._free_mb, 0)} MB are free beside the reserve of {self._reserve_mb} MB, and one needs up to "
            f"{need_mb} MB"
        )


@dataclass(slots=True)
class _MemoryQueue:
    """The starts that wait for room on one host. Times are of the monotonic clock."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    short_since: float | None = None
    """When the first of those that wait now, or were just refused, found no room."""
    refused_at: float = 0.0
    """The latest refusal; 0 when there was none."""


class FairSemaphore:
    """At most ``limit`` holders at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._callers: dict[str, _WaitQueue] = {}
        """The caller whose turn is next stands first. Only callers that wait or hold a permit are kept."""
        self._background = _WaitQueue()
        self._refused = ""

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def held(self) -> int:
        return self.urgent + self._background.held

    @property
    def waiting(self) -> int:
        """How many permits callers wait for, without those of background work."""
        return sum(len(queue.waiting) for queue in self._callers.values())

    @property
    def urgent(self) -> int:
        """How many permits callers hold; background work holds the others."""
        return sum(queue.held for queue in self._callers.values())

    def resize(self, limit: int) -> None:
        """A smaller limit takes effect as holders finish."""
        self._limit = limit
        self._admit()

    def close(self, why: str) -> None:
        """Refuses all that wait now or ask later, with these words."""
        self._refused = why
        waiting = [turn for queue in (*self._callers.values(), self._background) for turn in queue.waiting]
        for turn in waiting:
            if not turn.done():
                turn.set_exception(WrongStateError(why))

    @asynccontextmanager
    async def hold(self, caller: str = "") -> AsyncIterator[None]:
        """Requests of one ``caller`` are first come first served; callers take turns.

        Raises ``WrongStateError`` after ``close``.
        """
        queue = self._callers.setdefault(caller, _WaitQueue())
        try:
            async with self._permit(queue):
                yield
        finally:
            # By the time a cancelled wait ends, the caller may have another queue.
            if not queue.held and not queue.waiting and self._callers.get(caller) is queue:
                del self._callers[caller]

    @asynccontextmanager
    async def hold_in_background(self) -> AsyncIterator[None]:
        async with self._permit(self._background):
            yield

    @asynccontextmanager
    async def _permit(self, queue: _WaitQueue) -> AsyncIterator[None]:
        if self._refused:
            raise WrongStateError(self._refused)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                queue.held -= 1
            elif turn in queue.waiting:
                queue.waiting.remove(turn)
            self._admit()
            raise
        try:
            yield
        finally:
            queue.held -= 1
            self._admit()

    def _admit(self) -> None:
        while self.held < self._limit and (queue := self._next()) is not None:
            turn = queue.waiting.popleft()
            if turn.done():  # cancelled, but its task has not run yet
                continue
            queue.held += 1
            turn.set_result(None)

    def _next(self) -> _WaitQueue | None:
        """The queue whose turn it is; that caller then goes to the end."""
        for caller, queue in self._callers.items():
            if queue.waiting:
                self._callers[caller] = self._callers.pop(caller)
                return queue
        free_for_background = max(self._limit - 1, 1) - self._background.held
        if self._background.waiting and not self.urgent and free_for_background > 0:
            return self._background
        return None


@dataclass(slots=True)
class _WaitQueue:
    """The waiting turns of one caller, first come first served, and how many permits it holds."""

    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    held: int = 0


class WorkDirPolicy:
    """Checks a caller's ``workDir`` before anything is made. An empty ``allowed`` permits any directory of the user."""

    def __init__(self, home: Home, user_home: Path, allowed: Sequence[Path], host: str = "") -> None:
        """``host``: where the paths are, in a team of several hosts."""
        self._there = f" on {host}, where the team's repositories are" if host else ""
        self._root = home.root.resolve()
        self._worktrees = home.worktrees.resolve()
        self._user_home = user_home.resolve()
        self._allowed = tuple(directory.resolve() for directory in allowed)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="workDir")

    async def checked(self, work_dir: str, called: str = "workDir") -> Path:
        """As ``check``, but a file system that hangs does not block the event loop."""
        try:
            async with asyncio.timeout(ANSWERS_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self.check, work_dir, called)
        except TimeoutError:
            raise InvalidRequestError(
                f"{called} {work_dir[:200]!r} does not answer within {ANSWERS_S:.0f} s: its file system hangs."
            ) from None

    def check(self, work_dir: str, called: str = "workDir") -> Path:
        """The real path. ``called`` is the argument's name. Raises ``InvalidRequestError``, which says what to do."""
        if not work_dir.startswith("/") or "\0" in work_dir:
            raise InvalidRequestError(f"{called} must be an absolute path, not {work_dir[:200]!r}.")
        try:
            directory = Path(work_dir).resolve()
            is_directory = directory.is_dir()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
            raise InvalidRequestError(f"{called} {work_dir[:200]!r} cannot be used: {error}.") from error
        if not is_directory:
            raise InvalidRequestError(
                f"{called} {directory} is not a directory{self._there}: create it first or correct the path."
            )
        if directory in (Path("/"), self._user_home):
            raise InvalidRequestError(f"{called} {directory} is too wide: give the directory of one project.")
        if directory.is_relative_to(self._root) and not directory.is_relative_to(self._worktrees):
            raise InvalidRequestError(f"{called} {directory} belongs to Phalanx itself: give a project's directory.")
        in_team = directory.is_relative_to(self._worktrees)
        if self._allowed and not in_team and not any(directory.is_relative_to(root) for root in self._allowed):
            roots = ", ".join(str(root) for root in self._allowed)
            raise InvalidRequestError(
                f"{called} {directory} is outside what is allowed: {roots}. "
                "Give a directory inside, or change allowed_work_dirs in config.toml."
            )
        return directory
