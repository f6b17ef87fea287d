"""The entry as a program, over a team that is not there and that writes where it should not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import warnings
from typing import Any

from actors.home import home_from
from mcp_entry.__main__ import run
from mcp_entry.connection import OnStep, TeamConnection
from mcp_entry.notifications import AlertForwarder
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import REPLIES, FakeClient


async def list_noisily(request: Any, on_progress: ProgressCallback) -> Any:
    print("noise of a library")
    os.write(1, b"noise of a C library\n")
    await asyncio.to_thread(subprocess.run, ["echo", "noise of a child"], check=True)
    warnings.warn("noise of a warning", stacklevel=1)
    sys.stdout.flush()
    return REPLIES["list"]


async def wait_for_ever(request: Any, on_progress: ProgressCallback) -> Any:
    on_progress(0, 1, "waiting")
    await asyncio.Event().wait()


async def bring_up(on_step: OnStep) -> None:
    raise AssertionError("a team that answers is not brought up")


if __name__ == "__main__":
    client = FakeClient(list=list_noisily, wait=wait_for_ever)
    run(TeamConnection(client, bring_up, patience_s=5.0), AlertForwarder(client), home_from(os.environ))
