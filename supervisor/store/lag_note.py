"""A note beside the state file: it has what Redis lacks.

It outlives crashes, so that a lost file is not silently replaced by a copy that was behind it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from actors.errors import StoreError
from supervisor.store.sqlite_file import sync_directory

_TEXT = "This team's state.db has writes that its copy in Redis lacks.\n"


class LagNote:
    """``put`` and ``remove`` cost nothing when there is nothing to change."""

    def __init__(self, state_file: Path) -> None:
        self.path = state_file.with_name(f"{state_file.name}-ahead-of-redis")
        self._there: bool | None = None
        self._turn = asyncio.Lock()

    async def is_there(self) -> bool:
        if self._there is None:
            self._there = await asyncio.to_thread(self.path.exists)
        return self._there

    async def put(self) -> None:
        """Durable when it returns. Raises ``StoreError``."""
        async with self._turn:
            if not await self.is_there():
                await asyncio.to_thread(self._write)
                self._there = True

    async def remove(self) -> None:
        """Raises ``StoreError``."""
        async with self._turn:
            if await self.is_there():
                await asyncio.to_thread(self._unlink)
                self._there = False

    def _write(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(_TEXT)
            sync_directory(self.path.parent)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror}. Make room, or give its user the right to write."
            ) from error

    def _unlink(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be removed: {error.strerror}.") from error
