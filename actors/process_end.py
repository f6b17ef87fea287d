"""Waiting for the end of a process that is not our child, as the agents in tmux are not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

_POLL_S = 1.0


async def process_end(pid: int) -> None:
    """Returns when no process ``pid`` is there any more; at once if there is none."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:  # forbidden in this container, or there is no free file descriptor
        await _poll(pid)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(watched, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


async def _poll(pid: int) -> None:
    while _exists(pid):  # noqa: ASYNC110 - nothing signals the end of a foreign process here
        await asyncio.sleep(_POLL_S)


def _exists(pid: int) -> bool:
    """tmux now and then leaves an agent that has ended uncollected: such a process is none any more."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:  # as without free file descriptors: it cannot be told now
        return True
    return state not in {b"Z", b"X"}
