"""Stops Ray from importing pydantic and starlette in instance processes.

Ray imports both, if they are installed, when a process first deserializes what it was given. They are installed for the
supervisor and the entry. An instance only gets plain values, and the imports would cost each instance a tenth of its
memory and of its start time.
"""

from __future__ import annotations

import sys
from typing import Any

BLOCKED = ("pydantic", "starlette")


class Lean:
    """As a class attribute of an actor that is pickled by value, it blocks the imports when the actor's process
    deserializes the class, which is before it deserializes the arguments."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _block_imports, ()


def _block_imports() -> Lean:
    modules: dict[str, Any] = sys.modules
    for name in BLOCKED:
        modules.setdefault(name, None)  # makes an import fail, as if not installed
    return Lean()
