"""The entry's connection to its team, and the process that brings the team up when none runs.

``calls`` makes its calls over one ``TeamConnection``, which opens its client with the first call, and again when the
connection is lost. At most one attempt to open runs at a time. A waiting call that is cancelled does not stop the
attempt. A failed attempt raises in the calls that wait; the next call tries again. A lost connection is opened again at
once, without a call.

A team that was lost is brought back without a call. A team that was brought down, or never was up, is brought up only
by a call that acts: one that only reads would find nothing there. So an entry that nobody uses costs one idle process.

``BringUpProcess`` runs ``supervisor.runtime`` in a session of its own, without input, with the log for output. So the
team outlives the entry and its client, and its output cannot reach the entry's stdout.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import supervisor
from actors.backoff import Backoff
from actors.concurrency import TaskSet
from actors.errors import PhalanxError, SettingsError, TeamNotRunningError, UnavailableError
from actors.files import FileLock
from actors.home import Home, away_words, leader_of
from mcp_entry.log import make_room
from supervisor.rpc.client import SupervisorClient
from supervisor.team.file import reason_in, steps_in, wanted_team

logger = logging.getLogger(__name__)
OnStep = Callable[[str], None]
"""Called with each step of a bring-up, in words."""
BringUp = Callable[[OnStep], Awaitable[None]]
"""Brings the team up, or back; returns when it runs. Raises ``PhalanxError`` with the reason when that fails, and
``NoTeamError`` when there is none to bring back."""
_REVIVE_BACKOFF = Backoff(first_s=2.0, longest_s=60.0)
_REVIVE_ATTEMPTS = 7
"""Attempts to bring a lost team back, the first at once. After the last one only a call tries again."""
_OPEN_ATTEMPTS = 3
"""Bring-ups of one attempt to connect, when the team is lost again as soon as it is up."""
_KILLED_ATTEMPTS = 3
"""Starts of a bring-up process that was killed."""
_CLOSE_S = 2.0
_POLL_S = 0.05
_BRING_UP_LIMIT_S = 300.0
_DOCTOR = "`phalanx doctor`"
_REASON_BYTES = 4000
_PACKAGE_PARENT = Path(supervisor.__file__).resolve().parent.parent


class NoTeamError(TeamNotRunningError):
    """No team was lost here: it was brought down, or never was up. Only a call that acts brings it up."""


def ignore_steps(step: str) -> None:
    """For callers that do not show steps."""


class TeamConnection:
    def __init__(
        self,
        client: SupervisorClient,
        bring_up: BringUp,
        *,
        patience_s: float,
        bring_back: BringUp | None = None,
        reads_bring_up: bool = True,
        reach_after_s: float = 1.0,
    ) -> None:
        """``patience_s``: longest wait of a call for the team. ``reach_after_s``: pause of ``reach_soon``.

        Without ``bring_back`` only a call opens a lost connection again. ``reads_bring_up``: whether a call that only
        reads brings the team up too, and not only back."""
        self._client = client
        self._bring_up = bring_up
        self._bring_back = bring_back
        self._for_reads = bring_up if reads_bring_up or bring_back is None else bring_back
        self._patience_s = patience_s
        self._reach_after_s = reach_after_s
        self._opening: asyncio.Task[None] | None = None
        self._opening_brings: BringUp | None = None
        self._on_steps: set[OnStep] = set()
        self._reopening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._background = TaskSet("the connection to the team")

    @property
    def connected(self) -> bool:
        return not self._client.closed

    def reach_soon(self) -> None:
        """Connects in the background to a team that runs or was lost, after ``reach_after_s``, unless ``close`` comes
        first. Starts no other team."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._reach_after_s, self._reach)

    def _reach(self) -> None:
        if not self.connected and self._bring_back is not None:
            self._attempt(self._bring_back)

    async def client(self, *, only_reads: bool = False, on_step: OnStep = ignore_steps) -> SupervisorClient:
        """The client, connected. ``on_step`` is told the steps of a bring-up.

        Raises why the team could not be brought up; ``NoTeamError`` when none runs and the call ``only_reads``;
        ``UnavailableError`` after ``patience_s``.
        """
        if not self.connected:
            self._on_steps.add(on_step)
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._open_with(self._for_reads if only_reads else self._bring_up)
            except TimeoutError as error:
                raise UnavailableError(
                    f"The team is still starting after {self._patience_s:.0f} s. Make the call again in a minute."
                ) from error
            finally:
                self._on_steps.discard(on_step)
        return self._client

    async def close(self) -> None:
        """Closes the connection and stops waiting for the team. A bring-up process goes on by itself."""
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        await self._background.end(within_s=_CLOSE_S)
        await self._client.close()

    async def _open_with(self, bring: BringUp) -> None:
        if self._opening is not None and self._opening_brings == self._bring_back != bring:
            with suppress(PhalanxError):  # an attempt to bring back fails for a team that was brought down
                await asyncio.shield(self._opening)
                return
        await asyncio.shield(self._attempt(bring))

    def _attempt(self, bring: BringUp) -> asyncio.Task[None]:
        """The attempt that is under way; begins one when there is none."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(bring), name="open the team")
            self._opening.add_done_callback(self._opened)
            self._opening_brings = bring
        return self._opening

    def _on_step(self, step: str) -> None:
        for told in tuple(self._on_steps):
            told(step)

    async def _open(self, bring: BringUp) -> None:
        for attempt in range(_OPEN_ATTEMPTS + 1):
            try:
                await self._client.open()
            except TeamNotRunningError as error:
                if attempt == _OPEN_ATTEMPTS:
                    raise
                logger.info("no team answers: %s", error)
                await bring(self._on_step)
            else:
                return

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if opening.cancelled():
            return
        if error := opening.exception():
            level = logging.INFO if isinstance(error, NoTeamError) else logging.WARNING
            logger.log(level, "the team could not be reached: %s", error)
            return
        logger.info("connected to the team")
        if self._bring_back is not None:
            if self._reopening is not None:  # it may pause after a failed attempt
                self._reopening.cancel()
            self._reopening = asyncio.create_task(self._reopen_when_lost(self._bring_back), name="reopen the team")
            self._background.keep(self._reopening)

    async def _reopen_when_lost(self, bring_back: BringUp) -> None:
        """Watches one connection. Ends when it was reopened, which has a watch of its own, or cannot be."""
        await self._client.until_lost()
        for failures in range(_REVIVE_ATTEMPTS):
            await asyncio.sleep(_REVIVE_BACKOFF.pause_s(failures))
            try:
                await asyncio.shield(self._attempt(bring_back))
            except NoTeamError:
                return
            except (PhalanxError, OSError) as error:
                logger.info("the lost team is not back yet: %s", error)
            else:
                return


class BringUpLog:
    """What a process that brings a team up writes to its log. A log that somebody took away holds nothing."""

    def __init__(self, path: Path, begin: int) -> None:
        """``begin``: the log's size in bytes before the process."""
        self._path = path
        self._begin = begin
        self._told_to = begin
        """The offset in bytes after the last whole line in which steps were looked for."""

    def new_steps(self) -> list[str]:
        """The steps since the last call."""
        new = self._after(self._told_to)
        lines = new[: new.rfind(b"\n") + 1]
        self._told_to += len(lines)
        return steps_in(lines.decode(errors="replace"))

    def written(self) -> str:
        """All of it; of much only the end."""
        return self._after(self._begin)[-_REASON_BYTES:].decode(errors="replace")

    def _after(self, offset: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class BringUpProcess:
    """Runs ``python -m supervisor.runtime up`` or ``revive`` for one home with a given environment."""

    home: Home
    environment: Mapping[str, str]

    async def __call__(self, on_step: OnStep) -> None:
        """Returns when the team runs. Raises ``TeamNotRunningError`` with the end of the log when it fails, and on a
        host whose team is led from another host."""
        self._check_leads()
        await self._run("up", on_step)

    async def bring_back(self, on_step: OnStep) -> None:
        """Brings back a team that was lost. Raises ``NoTeamError`` when none was, and else as a bring-up does.

        When several entries call at the same time, one starts the process and the others wait for its end.
        """
        self._check_leads()
        self._check_wanted()
        lock = FileLock(self.home.revive_lock_file)
        first = lock.try_acquire()
        if not first and not await lock.acquire_async(_BRING_UP_LIMIT_S):
            raise TeamNotRunningError(
                f"Another process has been bringing the team back for {_BRING_UP_LIMIT_S:.0f} s, see {self.home.root}. "
                "The next call tries again."
            )
        try:
            if first:
                await self._run("revive", on_step)
        finally:
            lock.release()
        self._check_wanted()

    def _check_wanted(self) -> None:
        if wanted_team(self.home) is None:
            raise NoTeamError(f"No team runs in {self.home.root}. The first spawn starts one.")

    def _check_leads(self) -> None:
        if leader := leader_of(self.home):
            raise TeamNotRunningError(away_words(leader))

    async def _run(self, command: str, on_step: OnStep) -> None:
        """Runs the process to its end; a killed one is started again at once."""
        self.home.create()
        log = self.home.logs / "up.log"
        make_room(log)
        for _ in range(_KILLED_ATTEMPTS):
            begin = log.stat().st_size if log.exists() else 0
            process = await asyncio.to_thread(self._start, command, log)
            logger.info("the team: %s as process %d, see %s", command, process.pid, log)
            code = await self._end_of(process, BringUpLog(log, begin), on_step)
            if code != -signal.SIGKILL:
                break
        if code != 0:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit status {code}"
            reason = reason_in(BringUpLog(log, begin).written()) or f"The process that brings it up {how}."
            help_words = "" if _DOCTOR in reason else f" {_DOCTOR} says what this machine lacks."
            raise TeamNotRunningError(
                f"The team could not be brought up. {reason}\nThe log is {log}.{help_words} The next call tries again."
            )

    async def _end_of(self, process: subprocess.Popen[bytes], log: BringUpLog, on_step: OnStep) -> int:
        """The exit code. ``on_step`` is told what the process writes of its steps."""
        try:
            async with asyncio.timeout(_BRING_UP_LIMIT_S):
                while (code := process.poll()) is None:  # a thread that waits would outlast the entry
                    for step in log.new_steps():
                        on_step(step)
                    await asyncio.sleep(_POLL_S)
                return code
        except TimeoutError:
            process.terminate()
            raise TeamNotRunningError(
                f"The team did not come up within {_BRING_UP_LIMIT_S:.0f} s. The log is "
                f"{self.home.logs / 'up.log'}; {_DOCTOR} says what is missing. The next call tries again."
            ) from None

    def _start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """The working directory is that of our packages, because ``-m`` imports from there first."""
        try:
            output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(f"{log} cannot be written: {error.strerror}. Set PHALANX_HOME elsewhere.") from error
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "supervisor.runtime", command, "--home", str(self.home.root)],
                cwd=_PACKAGE_PARENT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)
