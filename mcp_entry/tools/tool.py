"""What a tool is, and the decorator that makes one of a function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp_types import ToolAnnotations

from supervisor.api.results import Result
from supervisor.api.verbs import VERBS, ProgressCallback, Verb
from supervisor.rpc.client import SupervisorClient

ToolFunction = Callable[[SupervisorClient, Any, ProgressCallback], Awaitable[Result]]
# What is left out is so by default: it adds and changes, and doing it twice is not doing it once.
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(destructive_hint=False, open_world_hint=False)
SETS = ToolAnnotations(destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ACTS = ToolAnnotations(destructive_hint=True, open_world_hint=False)
ACTS_ONCE = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """``call`` asks the supervisor; ``text`` says its result in words for clients that show no structured content."""

    name: str
    title: str
    description: str
    annotations: ToolAnnotations
    call: ToolFunction
    text: Callable[[Any], str]
    text_is_answer: bool = False
    """It is what was asked for, and no summary: it is bounded already, and nothing of it may be missing."""

    @property
    def verb(self) -> Verb:
        return VERBS[self.name]

    @property
    def only_looks(self) -> bool:
        """Asking twice does no harm."""
        return bool(self.annotations.read_only_hint)


def tool(
    title: str, annotations: ToolAnnotations, text: Callable[[Any], str], *, text_is_answer: bool = False
) -> Callable[[ToolFunction], Tool]:
    def wrap(function: ToolFunction) -> Tool:
        return Tool(
            name=function.__name__.rstrip("_"),
            title=title,
            description=inspect.getdoc(function) or "",
            annotations=annotations.model_copy(update={"title": title}),
            call=function,
            text=text,
            text_is_answer=text_is_answer,
        )

    return wrap
