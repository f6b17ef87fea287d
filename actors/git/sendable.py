"""Makes what git told fit to travel: names and contents of files need be no UTF-8, but messages between processes are.

``hands`` passes every outcome through here; proofs stay as they are, because they must name the same files again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sendable(value: Any) -> Any:
    """The same with a mark in place of every byte that is no UTF-8."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="surrogateescape").decode(errors="replace")
    if isinstance(value, Mapping):
        return {key: sendable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(each) for each in value]
    return value
