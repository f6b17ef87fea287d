"""What a message tells the demo to do: its lines ``@@demo …``; pure.

::

    @@demo busy SECONDS            work that long
    @@demo dialog TOOL {json}      ask for permission to use a tool; when allowed, it is noted in ran.jsonl
    @@demo ask                     open a menu that is no permission request
    @@demo commit FILE TEXT        write FILE in the working directory and commit it
    @@demo fail rate_limit|api     end the turn with an API error
    @@demo swallow-enter           swallow the next Enter
    @@demo never-answer            work until interrupted
    @@demo crash CODE              end the program at once, without a hook
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_LINE = re.compile(r"^@@demo ([a-z-]+)(?: (.*))?$", re.MULTILINE)
_HEADER = re.compile(r"^\[phalanx msg_\S+ from [^\]\n]+\]$", re.MULTILINE)


class Directive(NamedTuple):
    name: str
    argument: str


def directives_in(prompt: str) -> list[Directive]:
    return [Directive(found[1], found[2] or "") for found in _LINE.finditer(prompt)]


def answer_to(prompts: Iterable[str]) -> str:
    """The demo's answer: how many messages it received, and the last line of the last."""
    text = "\n".join(prompts)
    messages = len(_HEADER.findall(text)) or 1
    lines = [line for line in text.split("\n") if line.strip() and not _LINE.fullmatch(line)]
    return f"demo: received {messages} message(s): {lines[-1] if lines else ''}"
