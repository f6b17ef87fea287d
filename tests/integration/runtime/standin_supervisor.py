"""A supervisor's actor with a real gateway and nobody behind it: what the runtime needs of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ray

from actors.home import Home
from supervisor.gateway import Gateway
from supervisor.requests import Request
from supervisor.results import Result, StatusResult, TerminateResult
from supervisor.verbs import Caller


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


class _Supervisor:
    def __init__(self, home_root: str) -> None:
        self._home = Home(Path(home_root))
        self._gateway: Gateway | None = None

    async def start(self) -> int:
        if self._gateway is None:
            print("something that a library prints")
            self._gateway = Gateway(self._home.gateway_socket, _NobodyThere())
            await self._gateway.start()
        return os.getpid()


class _Failing(_Supervisor):
    async def start(self) -> int:
        raise LookupError("there is no store")


def create_supervisor(home_root: str) -> Any:
    print("something that Ray prints", flush=True)
    actor: Any = ray.remote(num_cpus=0)(_Supervisor)
    return actor.options(name="supervisor", lifetime="detached", get_if_exists=True).remote(home_root)


def create_failing(home_root: str) -> Any:
    actor: Any = ray.remote(num_cpus=0)(_Failing)
    return actor.options(name="supervisor", lifetime="detached", get_if_exists=True).remote(home_root)
