"""Which starts may begin: caps, free memory, allowed directories.

Admission by free memory: an agent is started only where there is room for it, above a reserve for everything else.

Whoever starts an agent holds a place while it starts, since it takes its memory little by little. Who does not fit
waits, first come first served, and says so; what is only kept ready is given up first. Who waits may be the only one
who could make room, so nobody waits for long: when a host has been short for ``patience_s``, all who wait there are
refused together, not one after the other. All in the supervisor's event loop.

A cap on how much runs at once: fair between callers, urgent before background, and resizable while in use.

Callers take turns: one that asks for fifty permits does not keep out one that asks for a single one. What runs in the
background (refilling a pool) begins only while nobody else waits for a permit or holds one, and leaves one free where
the limit allows, so that who comes then need not wait for it.

Which directories instances may work on.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from actors.concurrency import ChangeNotifier
from actors.errors import InvalidRequestError, UnavailableError, WrongStateError
from actors.home import Home
from actors.host.host import Host

PATIENCE_S = 90.0
_LOOK_S = 0.5
"""Nobody tells when memory becomes free."""
_RIGHT_AFTER_S = 5.0
"""Who comes so soon after others were refused is one of them: a batch comes a few at a time."""
_MB = 1_000_000
_DEMO_MB = 60
"""Measured: the demo program has 12 MB, the actor beside it 45."""

_SLOTS_TAKEN = "each slot of this host is taken, by a spare that gives way or by an instance that is just ending"

Tell = Callable[[str], None]
"""Takes a word on why one waits."""


def say_nothing(_what: str) -> None:
    """For those who wait in the background."""


@dataclass(slots=True)
class _MemoryQueue:
    """Those who want to start an agent on one host."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    short_since: float | None = None
    """When the first of those who wait now, or were just refused, found no room."""
    refused_at: float = 0.0
    """When that was for the last of them; 0 when none was."""


class MemoryAdmission:
    def __init__(self, host: Host, agent_mb: int, reserve_mb: int, patience_s: float = PATIENCE_S) -> None:
        """``agent_mb``: what a Claude Code takes with its actor, in MB."""
        self._host = host
        self._agent_mb = agent_mb
        self._reserve_mb = reserve_mb
        self._patience_s = patience_s
        self._promised_mb = 0
        self._free_mb = 0
        self._lines: defaultdict[str, _MemoryQueue] = defaultdict(_MemoryQueue)
        """By host; empty: this one."""
        self._full: set[str] = set()
        self._found_full = ChangeNotifier()
        self.slots_left: Callable[[str], int] = lambda _host: 1
        """Of a host of a cluster (empty: this one), besides those who start already; less than none: something has to
        give way."""

    @property
    def warning(self) -> str:
        """For people; empty while nobody waits."""
        waiting = self._lines[""].waiting
        if not waiting:
            return ""
        return (
            f"{waiting} {'agent waits' if waiting == 1 else 'agents wait'} to be started until there is memory for "
            f"them: {self._in_words(self._agent_mb)}. Terminate instances whose work is done, or lower "
            f"agent_memory_mb or memory_reserve_mb. After {self._patience_s:.0f} s they are given up."
        )

    async def full_hosts(self) -> Collection[str]:
        """Waits until a start has found no room, and tells on which hosts (empty: this one).

        A start that waits looks again and again, and is told of here each time.
        """
        await self._found_full.until(lambda: bool(self._full), None)
        found, self._full = self._full, set()
        return found

    async def fits(self, agent: str) -> bool:
        """Whether one more agent could be started now, with none waiting before it."""
        return not self._lines[""].waiting and self.slots_left("") > 0 and await self._has_room(self._need_mb(agent))

    @asynccontextmanager
    async def hold(
        self, agent: str, tell: Tell = say_nothing, host: str = "", *, replaces: bool = False
    ) -> AsyncIterator[None]:
        """To be held while an agent starts. Raises ``UnavailableError`` when there is no room for very long.

        ``host``: another one of a cluster, which has slots for as many as fit into its memory. ``replaces``: an agent
        ends for this one, which takes its place: it need not wait, and nobody else gets what that one leaves.
        """
        if host:
            if not replaces:
                await self._wait_for_slot(host, tell)
            yield
            return
        need_mb = self._need_mb(agent)
        if replaces:
            self._promised_mb += need_mb
        else:
            await self._wait(need_mb, tell)
        try:
            yield
        finally:
            self._promised_mb -= need_mb

    async def _wait_for_slot(self, host: str, tell: Tell) -> None:
        """Ray counts the slots, too: an actor for which none is left would wait there, and nobody would know why."""

        async def fits() -> bool:
            return self.slots_left(host) >= 0

        async with self._in_turn(host, fits, lambda: _SLOTS_TAKEN, tell):
            """It has its slot already."""

    async def _wait(self, need_mb: int, tell: Tell) -> None:
        async def fits() -> bool:
            return await self._has_room(need_mb)

        async with self._in_turn("", fits, lambda: self._in_words(need_mb), tell):
            self._promised_mb += need_mb

    @asynccontextmanager
    async def _in_turn(
        self, host: str, fits: Callable[[], Awaitable[bool]], why: Callable[[], str], tell: Tell
    ) -> AsyncIterator[None]:
        """Inside there is room. Raises ``UnavailableError`` when there was none for long."""
        line, waits = self._lines[host], False

        def wait() -> None:
            nonlocal waits
            line.waiting += not waits
            waits = True
            tell(f"waits for room{f' on {host}' if host else ''}: {why()}")

        try:
            if line.waiting:
                wait()
            async with line.turn:
                while not await fits():
                    wait()
                    if self._is_over(line):
                        raise UnavailableError(self._refusal(host, why()))
                    self._full.add(host)
                    self._found_full.announce()
                    await asyncio.sleep(_LOOK_S)
                line.short_since, line.refused_at = None, 0.0
                yield
        finally:
            line.waiting -= waits
            if not line.waiting and not line.refused_at:  # whoever waited went away
                line.short_since = None

    def _is_over(self, line: _MemoryQueue) -> bool:
        """Whether there has been no room for so long that all who wait are refused."""
        now = time.monotonic()
        if line.short_since is None or (line.refused_at and now - line.refused_at > _RIGHT_AFTER_S):
            line.short_since, line.refused_at = now, 0.0
        if now - line.short_since <= self._patience_s:
            return False
        line.refused_at = now
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
        return self._free_mb >= need_mb and self.slots_left("") >= 0

    def _need_mb(self, agent: str) -> int:
        return min(self._agent_mb, _DEMO_MB) if agent == "demo" else self._agent_mb

    def _in_words(self, need_mb: int) -> str:
        if self.slots_left("") < 0:
            return _SLOTS_TAKEN
        return (
            f"{max(self._free_mb, 0)} MB are free beside the reserve of {self._reserve_mb} MB, and one needs up to "
            f"{need_mb} MB"
        )


_Turn = asyncio.Future[None]


@dataclass(slots=True)
class _WaitQueue:
    """Those who wait, first come first served, and how many hold a permit."""

    waiting: deque[_Turn] = field(default_factory=deque)
    held: int = 0


class FairSemaphore:
    """At most ``limit`` holders at a time. All in one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._callers: dict[str, _WaitQueue] = {}
        """The caller whose turn is next stands first; none is kept who neither waits nor holds."""
        self._background = _WaitQueue()
        self._refused = ""
        self.most_held = 0
        """Most holders at once so far."""

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def held(self) -> int:
        return self.urgent + self._background.held

    @property
    def waiting(self) -> int:
        """What callers wait for; what waits in the background is not counted."""
        return sum(len(line.waiting) for line in self._callers.values())

    @property
    def urgent(self) -> int:
        """Held by callers; the others are held in the background."""
        return sum(line.held for line in self._callers.values())

    def resize(self, limit: int) -> None:
        """A smaller limit takes effect as holders finish."""
        self._limit = limit
        self._admit()

    def close(self, why: str) -> None:
        """From now on nobody gets one: who waits and who asks later is refused in these words."""
        self._refused = why
        waiting = [turn for line in (*self._callers.values(), self._background) for turn in line.waiting]
        for turn in waiting:
            if not turn.done():
                turn.set_exception(WrongStateError(why))

    @asynccontextmanager
    async def hold(self, caller: str = "") -> AsyncIterator[None]:
        """``caller`` names on whose behalf: its own work is first come first served, callers take turns.

        Raises ``WrongStateError`` when no more are given.
        """
        line = self._callers.setdefault(caller, _WaitQueue())
        try:
            await self._acquire(line)
            try:
                yield
            finally:
                self._release(line)
        finally:
            # Who stops waiting may find that the line was given up meanwhile, and another one begun.
            if not line.held and not line.waiting and self._callers.get(caller) is line:
                del self._callers[caller]

    @asynccontextmanager
    async def hold_in_background(self) -> AsyncIterator[None]:
        await self._acquire(self._background)
        try:
            yield
        finally:
            self._release(self._background)

    async def _acquire(self, line: _WaitQueue) -> None:
        if self._refused:
            raise WrongStateError(self._refused)
        turn: _Turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                line.held -= 1
            elif turn in line.waiting:
                line.waiting.remove(turn)
            self._admit()
            raise

    def _release(self, line: _WaitQueue) -> None:
        line.held -= 1
        self._admit()

    def _admit(self) -> None:
        while self.held < self._limit and (line := self._next()) is not None:
            turn = line.waiting.popleft()
            if turn.done():  # cancelled, but its task has not run yet
                continue
            line.held += 1
            self.most_held = max(self.most_held, self.held)
            turn.set_result(None)

    def _next(self) -> _WaitQueue | None:
        """Whose turn it is; that caller then goes to the end."""
        for caller, line in self._callers.items():
            if line.waiting:
                self._callers[caller] = self._callers.pop(caller)
                return line
        free_for_background = max(self._limit - 1, 1) - self._background.held
        if self._background.waiting and not self.urgent and free_for_background > 0:
            return self._background
        return None


ANSWERS_S = 5.0
"""A directory that does not answer for so long is on a file system that hangs."""
_THREADS = 32
"""What hangs keeps its thread."""


class WorkDirPolicy:
    """Checks a caller's ``workDir`` before anything is made. ``allowed`` empty means any directory of the user's."""

    def __init__(self, home: Home, user_home: Path, allowed: Sequence[Path], host: str = "") -> None:
        """``host``: on which the paths are, in a team of more than one."""
        self._there = f" on {host}, where the team's repositories are" if host else ""
        self._root = home.root.resolve()
        self._worktrees = home.worktrees.resolve()
        self._user_home = user_home.resolve()
        self._allowed = tuple(directory.resolve() for directory in allowed)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="workDir")

    async def checked(self, work_dir: str, called: str = "workDir") -> Path:
        """As ``check``, without the event loop waiting for a file system that hangs."""
        try:
            async with asyncio.timeout(ANSWERS_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self.check, work_dir, called)
        except TimeoutError:
            raise InvalidRequestError(
                f"{called} {work_dir[:200]!r} does not answer within {ANSWERS_S:.0f} s: its file system hangs."
            ) from None

    def check(self, work_dir: str, called: str = "workDir") -> Path:
        """The real path; ``called`` is the argument's name. Raises ``InvalidRequestError`` saying what is possible."""
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
        self._check_place(directory, called)
        return directory

    def _check_place(self, directory: Path, called: str) -> None:
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
