"""What one turn of the demo does, as a sequence of acts that the session performs; pure.

A turn is a generator: it yields an act, the session carries it out, which may take a while, and sends back what came
of it. Closing the generator interrupts the turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple

from actors.agents.demo_program.directives import Directive, answer_to, directives_in


class Work(NamedTuple):
    """Be busy for ``seconds``; for ever without."""

    seconds: float | None


class UseTool(NamedTuple):
    """Use a tool after asking for permission. Sends back the tool's result as text."""

    tool: str
    tool_input: dict[str, Any]


class Choose(NamedTuple):
    """Show a menu that is no permission request. Sends back what was chosen."""

    question: str
    options: tuple[str, ...]


class Commit(NamedTuple):
    """Write a file and commit it. Sends back what git said."""

    file: str
    text: str


class SwallowEnter(NamedTuple):
    """Swallow the next Enter."""


class Crash(NamedTuple):
    """End the program at once."""

    status: int


Act = Work | UseTool | Choose | Commit | SwallowEnter | Crash


class Outcome(NamedTuple):
    """How the turn ended. ``error`` is empty, or the kind of API error that ``text`` reports."""

    text: str
    error: str = ""
    status: int = 0


Turn = Generator[Act, str, Outcome]

_FAILURES = {
    "rate_limit": Outcome("API Error: Request rejected (429) · demo", error="rate_limit", status=429),
    "api": Outcome("API Error: 500 demo", error="server_error", status=500),
}


def turn(prompts: Iterable[str], work_s: float) -> Turn:
    """The turn that answers ``prompts``, which were submitted together."""
    prompts = list(prompts)
    yield Work(work_s)
    results = []
    for directive in [each for prompt in prompts for each in directives_in(prompt)]:
        if directive.name == "fail":
            return _FAILURES.get(directive.argument, _FAILURES["api"])
        act = _act(directive)
        if act is None:
            results.append(f"@@demo {directive.name} is not understood")
        elif result := (yield act):
            results.append(result)
    return Outcome("\n".join([answer_to(prompts), *(f"result: {result}" for result in results)]))


def _act(directive: Directive) -> Act | None:
    """None for a directive that is not understood."""
    make = _ACTS.get(directive.name)
    try:
        return make(directive.argument) if make else None
    except ValueError:
        return None


def _use_tool(argument: str) -> UseTool:
    tool, _, tool_input = argument.partition(" ")
    parsed = json.loads(tool_input or "{}")
    return UseTool(tool or "Bash", parsed if isinstance(parsed, dict) else {})


def _commit(argument: str) -> Commit:
    file, _, text = argument.partition(" ")
    if not file:
        raise ValueError("commit needs a file")
    return Commit(file, text)


_ACTS: dict[str, Callable[[str], Act]] = {
    "busy": lambda seconds: Work(float(seconds)),
    "never-answer": lambda _: Work(None),
    "dialog": _use_tool,
    "ask": lambda _: Choose("Which one?", ("This one", "That one")),
    "commit": _commit,
    "swallow-enter": lambda _: SwallowEnter(),
    "crash": lambda status: Crash(int(status or 1)),
}
