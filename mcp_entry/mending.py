"""Messages that a strict parser drops although their sender waits for an answer.

A model may write half of a character that JSON escapes as two (``\\ud83d``). Its client sends that on, the parser does
not take it, and the call would never be answered. Here the half becomes a question mark and the call goes on; used by
``wire``.
"""

from __future__ import annotations

import json
import logging

import mcp_types as types
from mcp.shared.message import SessionMessage

logger = logging.getLogger(__name__)


def mended(line: str) -> SessionMessage | None:
    """The message in a line that the parser does not take, if only halves of characters are wrong with it."""
    try:
        whole = json.dumps(json.loads(line), ensure_ascii=False).encode(errors="replace")
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(whole, by_name=False))
    except (TypeError, ValueError, RecursionError):
        logger.warning("a line that is no message was passed over")
        return None
