"""How the machines of a team are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from supervisor.results.base import Result


class HostInfo(Result):
    host: str
    address: str
    status: Literal["up", "drained", "away"] = Field(description="away: Ray does not run there just now")
    instances: int = Field(description="that run or start there")
    slots: int = Field(description="instances that it has room for")
    supervisor: bool = Field(description="the supervisor, its state and the repositories are there")
    labels: dict[str, str]


class HostsResult(Result):
    hosts: list[HostInfo]


class Remaining(Result):
    instance_id: str
    why: str


class DrainResult(Result):
    host: str
    drained: bool
    remaining: list[Remaining] = Field(description="instances that are still there")
