"""How much is looked at from near: as much as is asked, unless the file system hangs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.git import local as near_module
from actors.git.local import LocalValidator
from actors.git.model import GitRequest, GitResponse
from tests.integration.git.conftest import Project
from tests.integration.git.test_fingerprints import LOG, settled

AT_ONCE = 8


async def looked_at_once(near: LocalValidator, asked: Sequence[Sequence[GitRequest]]) -> list[GitRequest]:
    """What the host was asked."""
    left: list[GitRequest] = []

    async def ask_host(each: Sequence[GitRequest]) -> Sequence[GitResponse]:
        left.extend(each)
        return [GitResponse() for _ in each]

    await asyncio.gather(*(near.read(each, ask_host) for each in asked))
    return left


async def test_many_looks_at_once_all_find_what_holds(project: Project) -> None:
    fingerprint = (await asyncio.to_thread(settled, project, LOG)).fingerprint
    asked = [[GitRequest(directory=project.repository, operation=LOG, known=fingerprint)]] * AT_ONCE

    assert await looked_at_once(LocalValidator(project.environment), asked) == []


async def test_while_the_file_system_hangs_everything_is_the_hosts_and_then_no_more(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = (await asyncio.to_thread(settled, project, LOG)).fingerprint
    monkeypatch.setattr(near_module, "_PATIENCE_S", 0.05)
    near = LocalValidator(project.environment)
    hanging = [_hanging(project, f"hangs{number}") for number in range(2)]
    await looked_at_once(near, [[GitRequest(directory=each, operation=LOG, known=fingerprint)] for each in hanging])
    fine = GitRequest(directory=project.repository, operation=LOG, known=fingerprint)

    assert await looked_at_once(near, [[fine]]) == [fine]
    for each in hanging:
        _release(each)
    async with asyncio.timeout(10):
        while await looked_at_once(near, [[fine]]):  # noqa: ASYNC110 - nothing tells that a thread is free again
            await asyncio.sleep(0)


def _hanging(project: Project, name: str) -> Path:
    """A copy of the repository in which a file that is looked at is never given."""
    copy = project.base / name
    shutil.copytree(project.repository, copy)
    (copy / ".git/config").unlink()
    os.mkfifo(copy / ".git/config")
    return copy


def _release(directory: Path) -> None:
    (directory / ".git/config").write_text("")
