"""Members of a batch: one that is malformed is kept as what it is, so that it fails alone and the others are done.

Only the form of the call itself (no list, no member, too many) is refused as a whole. On the wire a malformed member
is what the caller gave, so each end finds the same fault in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, SerializerFunctionWrapHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

from actors.errors import InvalidRequestError
from supervisor.faults import tell_all
from supervisor.requests.fields import Request

_NAMED_AT_MOST = 500


@dataclass(frozen=True, slots=True)
class Malformed:
    """``given`` is no such member; ``fault`` says why, in words for the caller."""

    given: Any
    fault: str

    @property
    def error(self) -> InvalidRequestError:
        return InvalidRequestError(self.fault)

    def named(self, argument: str) -> str:
        """What stands under this name in it, for telling whose it was; empty when it is no text. It may be cut."""
        value = self.given.get(argument) if isinstance(self.given, dict) else None
        return value[:_NAMED_AT_MOST] if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class FailsAlone:
    """Stands in the annotation ``Annotated[Model | Malformed, FailsAlone(Model, Model)]``; ``of`` may be annotated."""

    model: type[Request]
    of: Any

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler.generate_schema(self.of)
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            inner,
            serialization=core_schema.wrap_serializer_function_ser_schema(_serialize, schema=inner),
        )

    def _validate(self, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, Malformed):
            return value
        try:
            return validate(value)
        except ValidationError as error:
            return Malformed(value, "\n".join(["The arguments are wrong:", *tell_all(self.model, error)]))


def _serialize(member: Any, serialize: SerializerFunctionWrapHandler) -> Any:
    return member.given if isinstance(member, Malformed) else serialize(member)
