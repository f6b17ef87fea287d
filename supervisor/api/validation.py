"""Arguments that a tool or command does not take, told so that a model or a person can correct them.

``parse`` is used by the gateway and by whatever people and Claudes reach a team with. Its words name the place as the
caller wrote it, such as ``instances[3].role``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from actors.errors import InvalidRequestError
from supervisor.api.faults import tell_all
from supervisor.api.requests import Request

_RequestT = TypeVar("_RequestT", bound=Request)


def parse(
    model: type[_RequestT], arguments: Mapping[str, Any], words: Mapping[str, str] = MappingProxyType({})
) -> _RequestT:
    """The request that the arguments mean. Raises ``InvalidRequestError`` that names every fault.

    ``words``: by the names of arguments, what the caller has written for them instead.
    """
    try:
        return model.model_validate(arguments, by_alias=True, by_name=False)
    except ValidationError as error:
        told = tell_all(model, error, words)
        raise InvalidRequestError("\n".join(["Nothing was done, the arguments are wrong:", *told])) from None
