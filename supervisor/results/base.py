"""What the results have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

AS_ELSEWHERE: dict[str, Any] = {"properties": {}, "required": []}
"""For the schema of a field whose parts are described where its like stands."""
ROWS_AS_ELSEWHERE: dict[str, Any] = {"items": {"type": "object"}}


def named_only(schema: dict[str, Any]) -> None:
    schema["description"] = ", ".join(schema.pop("properties"))
    schema.pop("required", None)


class Result(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ErrorInfo(Result):
    model_config = ConfigDict(json_schema_extra=named_only)

    code: str
    message: str
