"""What the requests have in common: their base, and the kinds of their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

MAX_MESSAGE_BYTES = 1_000_000
"""Longest message or context, in bytes of UTF-8. The supervisor checks it, so that one long message fails alone."""
MAX_BATCH_MEMBERS = 1000
MAX_SPAWN_BATCH_MEMBERS = 200
MAX_WAIT_S = 3600.0
LEAD_WAIT_S = 100.0
"""How long a call waits unless it says otherwise: Claude Code moves one that takes 120 s to the background."""


class Role(StrEnum):
    EXECUTIVE = "executive"
    MANAGER = "manager"
    SPECIALIST = "specialist"


WorkspaceMode = Literal["isolated", "shared"]
PermissionMode = Literal["default", "manual", "acceptEdits", "auto", "dontAsk", "plan", "bypassPermissions"]
"""Of Claude Code; ``manual`` is the newer word for ``default``."""


def _not_reserved(name: str) -> str:
    # By PHALANX_TEAM and its like the processes of a team are found again.
    if name.startswith(("PHALANX_", "RAY_")) and not name.startswith("PHALANX_DEMO_"):
        raise ValueError("names that begin with PHALANX_ or RAY_ are Phalanx's own")
    return name


def _for_faults_only(schema: dict[str, Any]) -> None:
    """The description tells who got it wrong what is right; who reads the schema knows it by the argument's name."""
    schema.pop("description", None)


InstanceId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]{3,4}(_[0-9]+){1,3}$", max_length=64),
    Field(
        description="Id of an instance as spawn and list give it, for example spec_1_1_7.",
        json_schema_extra=_for_faults_only,
    ),
]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"),
    Field(
        description="A short label: letters, digits, '-' and '_', beginning with a letter or digit.",
        json_schema_extra=_for_faults_only,
    ),
]
RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,119}$")]
REQUEST_ID_USE = "Rarely needed: a name for this call; the same call with the same one is done only once."
VariableName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100),
    AfterValidator(_not_reserved),
]


class Request(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read_texts(cls, given: Any) -> Any:
        """Models now and then write a list or an object as a text of its JSON: it is taken for what it holds."""
        if not isinstance(given, dict):
            return given
        return {name: _held(value) if name in _containers(cls) else value for name, value in given.items()}


def _held(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


@cache
def _containers(model: type[Request]) -> frozenset[str]:
    """Names of the fields that are lists or objects, and never a text."""
    fields = model.model_fields.items()
    named = ((name, field.alias or name) for name, field in fields if _is_container(field.annotation))
    return frozenset(each for names in named for each in names)


def _is_container(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return all(_is_container(each) for each in get_args(annotation) if each is not NoneType)
    return isinstance(origin, type) and issubclass(origin, (Sequence, Mapping))
