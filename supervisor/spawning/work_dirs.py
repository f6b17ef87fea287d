"""Which directories instances may work on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actors.errors import InvalidRequestError
from actors.home import Home

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
