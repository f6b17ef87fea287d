"""Instances by name, as people know them: ``parser (spec_1_0_2)`` in place of an id that the team answers with.

The team answers with ids, because programs and Claudes read its answers. ``CliSession`` puts the names in, once for all
commands, before a view shows a result and before an error is told. A view that has a column of names gets its result
unchanged. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from supervisor.api.results import called

ModelT = TypeVar("ModelT", bound=BaseModel)
_SENTENCES = frozenset({"reason", "kept", "message", "why", "notes", "errors", "warnings"})
"""The fields that tell something in words of the team. All other texts are whole ids, or not ours."""
_VERBATIM = frozenset({"files", "summary"})
"""The fields whose texts are never ids."""
_ID = r"(?:exec|mgr|spec)(?:_[0-9]+)+"
_FREE_ID = re.compile(rf"(?<![\w/.'\"(=-]){_ID}(?![\w/'\")-])")
"""An id that is no part of a branch, a path or a quotation."""


def holds_an_id(text: str) -> bool:
    return re.search(_ID, text) is not None


def sentence_with_names(sentence: str, names: Mapping[str, str]) -> str:
    """``names``: by id, of those that have one. A command, between backticks, stays as it is."""
    parts = sentence.split("`")
    parts[::2] = [_FREE_ID.sub(lambda found: called(found[0], names.get(found[0])), part) for part in parts[::2]]
    return "`".join(parts)


def with_names(model: ModelT, names: Mapping[str, str]) -> ModelT:
    """The result with names wherever it holds ids; only for people, as no id in it can be used any more."""
    given = {field: getattr(model, field) for field in type(model).model_fields if field not in _VERBATIM}
    return model.model_copy(update={field: _value_with_names(field, value, names) for field, value in given.items()})


def _value_with_names(field: str, value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case BaseModel():
            return with_names(value, names)
        case list():
            return [_value_with_names(field, each, names) for each in value]
        case str() if field in _SENTENCES:
            return sentence_with_names(value, names)
        case str():
            return called(value, names.get(value))
        case _:
            return value
