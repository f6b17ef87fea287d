"""Makes what git told fit to travel: names and contents of files need be no UTF-8, but messages between processes are.

``hands`` passes every outcome through here; proofs stay as they are, because they must name the same files again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack


def sendable(value: Any) -> Any:
    """The same with a mark in place of every byte that is no UTF-8."""
    try:
        msgpack.packb(value)
    except UnicodeEncodeError:
        return _marked(value)
    return value


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="surrogateescape").decode(errors="replace")
    if isinstance(value, Mapping):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(each) for each in value]
    return value
