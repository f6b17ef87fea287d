"""Waiting for the end of a process that is not our child, as the agents in tmux are not."""

from __future__ import annotations

import asyncio
import os

_POLL_S = 1.0


async def process_end(pid: int) -> None:
    """Returns when no process ``pid`` is there any more; at once if there is none."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux, or forbidden in this container
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
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
