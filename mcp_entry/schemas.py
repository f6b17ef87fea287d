"""JSON schemas of the tools, made small, because a Claude pays for every word of them in each of its conversations.

``server`` and ``web`` make them from the pydantic models of the verbs. What a tool takes is given without titles,
references and limits, which the error text of a wrong call tells; what it gives, by names. "May be null" is written as
"may be absent", and ``structured`` sends values so: without nulls.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

from pydantic_core import to_jsonable_python

from supervisor.api.requests import Request
from supervisor.api.results import Result

Schema = dict[str, Any]
_NULL: Schema = {"type": "null"}
_TOLD_BY_ERRORS = frozenset(
    {
        *("title", "pattern", "minLength", "maxLength", "minItems", "maxItems", "propertyNames"),
        *("minimum", "maximum", "exclusiveMinimum", "additionalProperties"),
    }
)
_WORDS = frozenset({"description", "default"})


def input_schema(model: type[Request], *, unlisted: frozenset[str], with_words: bool = True) -> Schema:
    """What a tool takes: one flat object without the arguments that are ``unlisted``, also in the members of a batch.

    A call with one of these is taken all the same. Without words, the names of arguments must say enough.
    """
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema.pop("description", None)
    dropped = _TOLD_BY_ERRORS if with_words else _TOLD_BY_ERRORS | _WORDS
    return _listed(_slim(schema, definitions, dropped), unlisted)


def output_schema(model: type[Result]) -> Schema:
    """What a tool gives, as ``structured`` writes it: the names of the fields."""
    return {"type": "object", "properties": {field.alias or name: {} for name, field in model.model_fields.items()}}


def structured(model: type[Result], answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the supervisor without fields that are null; nulls inside values of any type are kept.

    Rows of lists, which may be long, also lose the fields that have their default.
    """
    return _written(model, answer, in_list=False)


def _written(model: type[Result], answer: Mapping[str, Any], *, in_list: bool) -> dict[str, Any]:
    defaults, inner = _fields(model)
    written = {
        name: value
        for name, value in answer.items()
        if value is not None and not (in_list and name in defaults and value == defaults[name])
    }
    for name in inner.keys() & written.keys():
        value = written[name]
        if isinstance(value, list):
            written[name] = [_written(inner[name], each, in_list=True) for each in value]
        else:
            written[name] = _written(inner[name], value, in_list=in_list)
    return written


@cache
def _fields(model: type[Result]) -> tuple[Mapping[str, Any], Mapping[str, type[Result]]]:
    """By name on the wire: the defaults of fields, and the models of fields that hold models."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    optional = {name: field for name, field in fields.items() if not field.is_required()}
    defaults = {
        name: field.get_default(call_default_factory=True, validated_data={}) for name, field in optional.items()
    }
    inner = {name: _model_in(field.annotation) for name, field in fields.items()}
    return to_jsonable_python(defaults, by_alias=True), {name: found for name, found in inner.items() if found}


def _model_in(annotation: Any) -> type[Result] | None:
    if isinstance(annotation, type) and issubclass(annotation, Result):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _listed(schema: Schema, unlisted: frozenset[str]) -> Schema:
    """The schema without these arguments, and without what only says again what holds anyway."""
    listed: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            listed[key] = {name: _listed(inner, unlisted) for name, inner in value.items() if name not in unlisted}
        elif key == "items":
            listed[key] = _listed(value, unlisted)
        elif key == "required":
            listed[key] = [name for name in value if name not in unlisted]
        elif value is not False:  # no further arguments; a default that is the same as leaving it out
            listed[key] = value
    return listed


def _slim(schema: Schema, definitions: Mapping[str, Schema], dropped: frozenset[str]) -> Schema:
    """The same schema without titles, references and nulls; a key beside a reference wins over its target's."""
    if "$ref" in schema:
        target = _described_by_its_fields(definitions[schema["$ref"].rpartition("/")[2]])
        beside = {k: v for k, v in schema.items() if k != "$ref"}
        return _slim({**target, **beside}, definitions, dropped)
    if _NULL in schema.get("anyOf", ()):
        options = [option for option in schema["anyOf"] if option != _NULL]
        present = options[0] if len(options) == 1 else {"anyOf": options}
        outside = {k: v for k, v in schema.items() if k != "anyOf" and (k, v) != ("default", None)}
        return _slim({**present, **outside}, definitions, dropped)
    if "patternProperties" in schema:
        (values,) = schema["patternProperties"].values()
        free = {k: v for k, v in schema.items() if k != "patternProperties"}
        return _slim({**free, "additionalProperties": values}, definitions, dropped)
    slim = {key: _slim_value(key, value, definitions, dropped) for key, value in schema.items() if key not in dropped}
    if "required" in slim:
        slim["required"] = [name for name in slim["required"] if not _may_be_null(schema["properties"][name])]
    says_nothing: Schema = {"additionalProperties": True, "properties": {}}
    return {key: value for key, value in slim.items() if key not in says_nothing or value != says_nothing[key]}


def _described_by_its_fields(definition: Schema) -> Schema:
    """Without the model's docstring, which is for programmers."""
    is_docstring = bool(definition.get("properties")) or "enum" in definition
    return {k: v for k, v in definition.items() if not (is_docstring and k == "description")}


def _slim_value(key: str, value: Any, definitions: Mapping[str, Schema], dropped: frozenset[str]) -> Any:
    if key == "properties":
        return {name: _slim(inner, definitions, dropped) for name, inner in value.items()}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _slim(value, definitions, dropped)
    if key == "anyOf":
        return [_slim(option, definitions, dropped) for option in value]
    return value


def _may_be_null(schema: Schema) -> bool:
    return _NULL in schema.get("anyOf", ())
