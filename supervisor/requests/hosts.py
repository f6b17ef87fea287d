"""What concerns the machines of a team."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from supervisor.requests.fields import Request

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,63}$")]


class HostsRequest(Request):
    """The machines of the team, how many instances each has and has room for."""


class DrainRequest(Request):
    """Place no new instances on a machine; those that are there go on until they are terminated."""

    host: HostName = Field(description="As hosts lists it.")
    undo: bool = Field(default=False, description="Place instances there again.")
