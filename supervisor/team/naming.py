"""Names are ids: puts the id in place of each name of an instance in a request.

``Supervisor.call`` does it once for every verb, before it checks what the caller may do. The fields that name instances
are found by their annotation ``NamesInstance``, in requests and in the members of their lists. A name that nobody has
stays as it is, so the verb answers as for any unknown id. A member of a batch whose name is ambiguous fails alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, get_args

from actors.errors import InvalidRequestError
from supervisor.api.requests import Malformed, NamesInstance, Request

RequestT = TypeVar("RequestT", bound=Request)
Resolve = Callable[[str], str]
"""Gives the id for an id or a name. Raises ``InvalidRequestError`` for a name that several have."""


def with_ids(request: RequestT, resolve: Resolve) -> RequestT:
    """The request with ids only. Raises ``InvalidRequestError``."""
    naming = _naming(type(request))
    changed: dict[str, Any] = {}
    for field in type(request).model_fields:
        value = getattr(request, field)
        if isinstance(value, str) and field in naming:
            new: Any = resolve(value)
        elif isinstance(value, list):
            new = [resolve(each) if field in naming else _member(each, resolve) for each in value]
        else:
            continue
        if new != value:
            changed[field] = new
    return request.model_copy(update=changed) if changed else request


def _member(member: Any, resolve: Resolve) -> Any:
    if not isinstance(member, Request):
        return member
    try:
        return with_ids(member, resolve)
    except InvalidRequestError as error:
        return Malformed(member.model_dump(mode="json", by_alias=True), str(error))


@cache
def _naming(model: type[Request]) -> frozenset[str]:
    """The fields of the model that name instances."""
    fields: Mapping[str, Any] = model.model_fields
    return frozenset(name for name, field in fields.items() if _names(field.annotation, field.metadata))


def _names(annotation: Any, metadata: Any = ()) -> bool:
    return any(isinstance(each, NamesInstance) for each in metadata) or any(
        isinstance(each, NamesInstance) or _names(each) for each in get_args(annotation)
    )
