"""One line of JSON that Claude Code wrote, as text that can be sent on."""

from __future__ import annotations

import json
from typing import Any


def parse(line: bytes) -> Any:
    """Like ``json.loads``, but with ``?`` for half of a surrogate pair: JavaScript cuts an emoji in two, and no encoder
    of ours would take what is left."""
    value = json.loads(line)
    if b"\\ud" not in line and b"\\uD" not in line:
        return value
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
