"""Checks arguments, and says what is wrong so that a model or a person can correct it. Pure.

``parse`` checks a whole call: the gateway's, and what a person typed on the command line. Requests use ``fault_lines``
for one member of a batch, the command line ``value_fault`` for one value. Places are named as the caller wrote them,
such as ``instances[3].role``.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType, NoneType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from actors.errors import InvalidRequestError

_ModelT = TypeVar("_ModelT", bound=BaseModel)
_MAX_LINES = 8
_LIST = "a list"
_NEEDED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": _LIST,
    "is_instance_of": _LIST,
    "sequence_str": _LIST,
    "dict_type": "an object",
    "model_type": "an object with named arguments",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def parse(
    model: type[_ModelT], arguments: Mapping[str, Any], words: Mapping[str, str] = MappingProxyType({})
) -> _ModelT:
    """The request with these arguments. Raises ``InvalidRequestError``, which names the faults.

    ``words``: for arguments that the caller wrote under another name, that name.
    """
    try:
        return model.model_validate(arguments, by_alias=True, by_name=False)
    except ValidationError as error:
        lines = fault_lines(model, error, words)
        raise InvalidRequestError("\n".join(["Nothing was done, the arguments are wrong:", *lines])) from None


def fault_lines(
    model: type[BaseModel], error: ValidationError, words: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """A line for each of the first faults, with its place. ``words`` as for ``parse``."""
    return bounded([fault for _, fault in located_faults(model, error, words)])


def bounded(faults: Sequence[str]) -> list[str]:
    """A line for each of the first faults."""
    more = [f"- and {len(faults) - _MAX_LINES} more"] if len(faults) > _MAX_LINES else []
    return [*(f"- {fault}" for fault in faults[:_MAX_LINES]), *more]


def located_faults(
    model: type[BaseModel], error: ValidationError, words: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[tuple[int | str, ...], str]]:
    """Each fault with its place in the arguments. ``words`` as for ``parse``."""
    return [(fault["loc"], _fault_line(model, fault, words)) for fault in error.errors(include_url=False)]


def value_fault(error: ValidationError) -> str:
    """The fault of one value, for a caller that names the place itself."""
    fault = error.errors(include_url=False)[0]
    limits = fault.get("ctx", {})
    if fault["type"] in _NEEDED:
        return f"it must be {_NEEDED[fault['type']].format(**limits)}, not {_SHORT.repr(fault['input'])}."
    return str(limits.get("error") or fault["msg"])


def _fault_line(model: type[BaseModel], fault: ErrorDetails, words: Mapping[str, str]) -> str:
    place = _place(fault["loc"], words)
    owner, description = _field(model, fault["loc"])
    given = _SHORT.repr(fault["input"])
    limits = fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return _unknown(place, str(fault["loc"][-1]), owner)
        case "missing":
            return f"{place} is missing. {description}".rstrip()
        case "string_pattern_mismatch" | "string_too_long":
            return f"{place} cannot be {given}. {description}".rstrip()
        case "enum" | "literal_error":
            return f"{place} cannot be {given}, only {limits['expected']}."
        case "string_too_short":
            return f"{place} must not be empty."
        case "too_long" | "too_short":
            bound = limits.get("max_length", limits.get("min_length"))
            allowed = f"at most {bound} can be given" if fault["type"] == "too_long" else f"at least {bound} is needed"
            return f"{place} has {limits['actual_length']} items; {allowed}."
        case kind if kind in _NEEDED:
            return f"{place} must be {_NEEDED[kind].format(**limits)}, not {given}."
        case _:
            why = limits.get("error") or fault["msg"].removeprefix("Input ")
            return f"{place} cannot be {given}: {why}." if place else f"{why}."


def _unknown(place: str, name: str, owner: type[BaseModel] | None) -> str:
    known = _argument_names(owner) if owner else []
    close = difflib.get_close_matches(_folded(name), [_folded(each) for each in known], n=1)
    hint = next((f" Did you mean {each}?" for each in known if close and _folded(each) == close[0]), "")
    return f"{place} is no known argument.{hint} Known are: {', '.join(known)}."


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _argument_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _place(location: tuple[int | str, ...], words: Mapping[str, str]) -> str:
    """``("instances", 3, "role")`` as ``instances[3].role``; for an argument in ``words`` that word."""
    if location[-1:] == ("[key]",):
        return f"a name in {_place(location[:-2], words)}"
    if location and str(location[0]) in words:
        word, inside = words[str(location[0])], location[1:]
        return word if all(isinstance(step, int) for step in inside) else f"{_path(inside)} in {word}"
    return _path(location)


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


def _not_none(annotation: Any) -> Any:
    """The annotation without ``None``."""
    kinds = [each for each in get_args(annotation) if each is not NoneType]
    return kinds[0] if len(kinds) < len(get_args(annotation)) else annotation


def _field(model: type[BaseModel], location: Iterable[int | str]) -> tuple[type[BaseModel] | None, str]:
    """The model whose argument the last step of ``location`` is, and that argument's description."""
    owner: type[BaseModel] | None = model
    inner: Any = model
    description = ""
    for step in location:
        if isinstance(step, int):
            inner = next(iter(get_args(_not_none(inner))), None)
            description = next((m.description or "" for m in get_args(inner) if isinstance(m, FieldInfo)), "")
            continue
        kind = _not_none(inner)
        owner = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        fields = {field.alias or name: field for name, field in owner.model_fields.items()} if owner else {}
        found = fields.get(step)
        inner, description = (found.annotation, found.description or "") if found else (None, "")
    return owner, description
