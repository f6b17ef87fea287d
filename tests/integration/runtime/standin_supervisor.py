"""A supervisor's actor with a real gateway and one instance's actor behind it: what the runtime needs of one."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from actors.home import Home
from actors.ray_client import actor_class, answer_of, make_actor, named_actor
from supervisor.api.requests import Request
from supervisor.api.results import Result, StatusResult, TerminateResult
from supervisor.api.verbs import Caller
from supervisor.rpc.server import Gateway
from supervisor.startup import StartupRetrier


def slow_start_file(home: Home) -> Path:
    """Holds how many seconds a start takes; absent: it is quick."""
    return home.root / "slow-start-s"


def _work_for(file: Path) -> None:
    if file.exists():
        until = time.monotonic() + float(file.read_text())
        while time.monotonic() < until:
            pass


class _NobodyThere:
    async def call(self, verb: str, request: Request, caller: Caller) -> Result:
        if verb == "shutdown":
            return TerminateResult(success=True, terminated=[])
        return StatusResult(
            home="",
            version="0",
            supervisor_pid=os.getpid(),
            started_at="",
            store="none",
            counts={},
            spawns_running=0,
            spawns_waiting=0,
            max_concurrent_spawns=1,
        )


class _Instance:
    """Stands for the actors that a Ray leaves behind."""

    async def nothing(self) -> None:
        """What is asynchronous in it makes it an actor as ours are."""


class _Supervisor:
    async def __init__(self, home_root: str) -> None:  # type: ignore[misc]
        self._home = Home(Path(home_root))
        self._own_start = StartupRetrier(self._begin)
        self._own_start.begin()

    async def start(self) -> int:
        await self._own_start.done()
        return os.getpid()

    async def _begin(self) -> None:
        print("something that a library prints")
        await asyncio.to_thread(_work_for, slow_start_file(self._home))
        instance = await make_actor(actor_class(_Instance), "instance-spec_0_0_1")
        await answer_of(instance.__ray_ready__.remote(), "The instance", 60.0)
        await Gateway(self._home.gateway_socket, _NobodyThere()).start()


class _Failing(_Supervisor):
    async def _begin(self) -> None:
        raise LookupError("there is no store")


def create_supervisor(home_root: str) -> Any:
    print("something that Ray prints", flush=True)
    return named_actor(actor_class(_Supervisor), "supervisor", home_root)


def create_failing(home_root: str) -> Any:
    return named_actor(actor_class(_Failing), "supervisor", home_root)
