"""Keeps out of the processes of instances what Ray would load there for nobody's sake.

When a process of Ray first reads what it is given, Ray loads pydantic and starlette if they are installed, in case that
values of theirs come. They are installed for the supervisor and the entry; an instance is only given plain values, and
there are many instances: each would pay for it with a tenth of its memory and of its time to start.
"""

from __future__ import annotations

import sys
from typing import Any

LEFT_OUT = ("pydantic", "starlette")


class Lean:
    """Made an attribute of an actor's class that is sent by value, it leaves the libraries out where the class is read:
    in the actor's process, before its arguments are."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _left_out, ()


def _left_out() -> Lean:
    modules: dict[str, Any] = sys.modules
    for name in LEFT_OUT:
        modules.setdefault(name, None)  # an import of it fails, as if it were not installed
    return Lean()
