"""JSON schemas of the tools, made small: whoever lists the tools pays for every word of them.

Used by ``tools``. Schemas come from the pydantic models of the verbs, without titles and references. "May be null" is
written as "may be absent", and that is how values are sent: ``structured`` leaves nulls out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any

from supervisor.requests import Request
from supervisor.results import Result

Schema = dict[str, Any]
_NULL: Schema = {"type": "null"}


def input_schema(model: type[Request]) -> Schema:
    """What a tool takes: one flat object, unknown arguments forbidden."""
    return _root(model.model_json_schema())


def output_schema(model: type[Result]) -> Schema:
    """What a tool gives, as ``structured`` writes it."""
    return _root(model.model_json_schema())


def structured(result: Result) -> dict[str, Any]:
    """A result as JSON values. Fields that are null are left out; nulls inside free values are kept.

    In lists, which may be long, what is as it is by default is left out, too.
    """
    return _written(result, in_list=False)


def _written(result: Result, *, in_list: bool) -> dict[str, Any]:
    written = {}
    for name, alias, default in _fields(type(result)):
        value = getattr(result, name)
        if value is not None and not (in_list and value == default):
            written[alias] = _plain(value, in_list=in_list)
    return written


def _plain(value: Any, *, in_list: bool) -> Any:
    match value:
        case Result():
            return _written(value, in_list=in_list)
        case list():
            return [_plain(each, in_list=True) for each in value]
        case dict():
            return {str(key): _plain(each, in_list=in_list) for key, each in value.items()}
        case StrEnum():
            return value.value
        case _:
            return value


@cache
def _fields(model: type[Result]) -> tuple[tuple[str, str, Any], ...]:
    """Of each its name, its name on the wire, and its default."""
    return tuple(
        (name, field.alias or name, field.get_default(call_default_factory=True, validated_data={}))
        for name, field in model.model_fields.items()
    )


def _root(schema: Schema) -> Schema:
    definitions = schema.pop("$defs", {})
    schema.pop("description", None)
    return _slim(schema, definitions)


def _slim(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The same schema without titles, references and nulls; what stands beside a reference wins over its target."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return _slim({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    if _NULL in schema.get("anyOf", ()):
        options = [option for option in schema["anyOf"] if option != _NULL]
        present = options[0] if len(options) == 1 else {"anyOf": options}
        outside = {k: v for k, v in schema.items() if k != "anyOf" and (k, v) != ("default", None)}
        return _slim({**present, **outside}, definitions)
    slim = {key: _slim_value(key, value, definitions) for key, value in schema.items() if key != "title"}
    if "required" in slim:
        slim["required"] = [name for name in slim["required"] if not _may_be_null(schema["properties"][name])]
    return slim


def _slim_value(key: str, value: Any, definitions: Mapping[str, Schema]) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _slim(inner, definitions) for name, inner in value.items()}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _slim(value, definitions)
    return value


def _may_be_null(schema: Schema) -> bool:
    return _NULL in schema.get("anyOf", ())
