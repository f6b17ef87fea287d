"""What concerns the machines of a team."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from supervisor.requests.fields import MAX_WAIT_S, Request

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,63}$")]


class HostsRequest(Request):
    """The machines of the team, how many instances each has and has room for."""


class DrainRequest(Request):
    """Place nothing new on a machine and hand those that are there over to others, each when its turn is done."""

    host: HostName = Field(description="As `phalanx hosts` lists it.")
    undo: bool = Field(default=False, description="Place instances there again.")
    wait: bool = Field(default=True, description="Return when all are handed over. They are in any case.")
    timeout_seconds: float = Field(default=600.0, gt=0, le=MAX_WAIT_S, description="With wait: longest wait.")
