"""Brings a team up from the entry, or back when it was lost, in a process that does not belong to it.

``Team`` calls it. The process gets a session of its own, no input, and the log for output, so the team
outlives the entry and its client and nothing of it can reach the entry's stdout.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import supervisor
from actors.errors import SettingsError, TeamNotRunningError
from actors.home import Home, away_words, leader_of
from mcp_entry.log import make_room
from supervisor.team.file import wanted_team
from supervisor.up_log import reason_in

logger = logging.getLogger(__name__)
_POLL_S = 0.05
_OTHERS_POLL_S = 0.2
_LIMIT_S = 300.0
_TRIES = 3
_DOCTOR = "`phalanx doctor`"
_REASON_BYTES = 4000
_PACKAGE_PARENT = Path(supervisor.__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class BringUpProcess:
    """Runs ``python -m supervisor.runtime up`` or ``revive`` for one home with a given environment."""

    home: Home
    environment: Mapping[str, str]

    async def __call__(self) -> None:
        """Returns when the team runs. Raises ``TeamNotRunningError`` with the last words of the log when it fails, and
        on a host that is led from another one."""
        self._check_leads()
        await self._run("up")

    async def revive(self) -> bool:
        """Brings back a team that was lost; False when it was brought down.

        Of many entries that do so at the same time one starts the process, the others wait for its end. Raises as
        bringing up does.
        """
        self._check_leads()
        if wanted_team(self.home) is None:
            return False
        async with _first_of_many(self.home.revive_lock_file) as first:
            if first:
                await self._run("revive")
        return wanted_team(self.home) is not None

    def _check_leads(self) -> None:
        if leader := leader_of(self.home):
            raise TeamNotRunningError(away_words(leader))

    async def _run(self, command: str) -> None:
        """One that is killed is begun again at once."""
        self.home.create()
        log = self.home.logs / "up.log"
        make_room(log)
        for _ in range(_TRIES):
            begin = log.stat().st_size if log.exists() else 0
            process = await asyncio.to_thread(self._start, command, log)
            logger.info("the team: %s as process %d, see %s", command, process.pid, log)
            code = await self._end_of(process)
            if code != -signal.SIGKILL:
                break
        if code != 0:
            reason = _reason(log, begin) or _how_it_ended(code)
            help_words = "" if _DOCTOR in reason else f" {_DOCTOR} says what this machine lacks."
            raise TeamNotRunningError(
                f"The team could not be brought up. {reason}\nThe log is {log}.{help_words} The next call tries again."
            )

    async def _end_of(self, process: subprocess.Popen[bytes]) -> int:
        try:
            async with asyncio.timeout(_LIMIT_S):
                while (code := process.poll()) is None:  # noqa: ASYNC110 - a thread that waits would outlast the entry
                    await asyncio.sleep(_POLL_S)
                return code
        except TimeoutError:
            process.terminate()
            raise TeamNotRunningError(
                f"The team did not come up within {_LIMIT_S:.0f} s. The log is {self.home.logs / 'up.log'}; "
                "`phalanx doctor` says what is missing. The next call tries again."
            ) from None

    def _start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """The working directory is where our packages are: ``-m`` looks there first, and must not find the caller's."""
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


@asynccontextmanager
async def _first_of_many(lock_file: Path) -> AsyncIterator[bool]:
    """Whether nobody else was at it. Otherwise what they did has ended; then the block begins."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        first = True
        async with asyncio.timeout(_LIMIT_S):
            while not _taken(descriptor):
                first = False
                await asyncio.sleep(_OTHERS_POLL_S)
        yield first
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _reason(log: Path, begin: int) -> str:
    """What stands in ``log`` after byte ``begin``; empty where it only tells steps."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - _REASON_BYTES))
        return reason_in(file.read().decode(errors="replace"))


def _how_it_ended(code: int) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit status {code}"
    return f"The process that does so {how}."
