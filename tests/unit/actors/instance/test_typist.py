from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from actors.errors import UnavailableError
from actors.files import LOCK_NAME, TypingLock


async def test_a_second_typist_waits_and_is_then_refused(tmp_path: Path) -> None:
    first, second = TypingLock(tmp_path), TypingLock(tmp_path)
    await first.acquire(0.0)
    with pytest.raises(UnavailableError, match="try again"):
        await second.acquire(0.0)
    waiting = asyncio.create_task(second.acquire(5.0))
    await asyncio.sleep(0)
    first.release()
    await waiting
    second.release()


async def test_who_holds_the_lock_may_ask_for_it_again(tmp_path: Path) -> None:
    typist = TypingLock(tmp_path)
    await typist.acquire(0.0)
    held = typist.descriptor
    await typist.acquire(0.0)
    assert typist.descriptor == held
    typist.release()


async def test_the_lock_lasts_as_long_as_anybody_has_inherited_it(tmp_path: Path) -> None:
    first, second = TypingLock(tmp_path), TypingLock(tmp_path)
    await first.acquire(0.0)
    inherited = os.dup(first.descriptor)
    first.release()
    with pytest.raises(UnavailableError):
        await second.acquire(0.0)
    os.close(inherited)
    await second.acquire(0.0)
    second.release()
    assert (tmp_path / LOCK_NAME).stat().st_mode & 0o777 == 0o600
