"""Messages that the SDK's transport drops although their sender waits for an answer.

A model may write half of a character that JSON escapes as two (``\\ud83d``). Its client sends that on, the SDK's strict
parser does not take it, and the call would never be answered. Here the half becomes a question mark and the call goes
on; used by ``__main__`` between transport and server.
"""

from __future__ import annotations

import json
import logging
from types import TracebackType
from typing import Protocol, Self

import mcp_types as types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

logger = logging.getLogger(__name__)
Item = SessionMessage | Exception


class ReadStream(Protocol):
    """What is needed of a transport's stream."""

    async def receive(self) -> Item: ...
    async def aclose(self) -> None: ...
    async def __anext__(self) -> Item: ...


class MendedStream:
    """A read stream over another one; the same items, but for messages that could be mended."""

    def __init__(self, inner: ReadStream) -> None:
        self._inner = inner

    async def receive(self) -> Item:
        return mended(await self._inner.receive())

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return mended(await self._inner.__anext__())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def mended(item: Item) -> Item:
    """The message in the line that a parser's error names, if only halves of characters are wrong with it."""
    if not isinstance(item, ValidationError):
        return item
    line = item.errors()[0]["input"]
    try:
        whole = json.dumps(json.loads(line), ensure_ascii=False).encode(errors="replace")
        message = types.jsonrpc_message_adapter.validate_json(whole, by_name=False)
    except (TypeError, ValueError, RecursionError):
        logger.warning("a line that is no message was passed over")
        return item
    return SessionMessage(message)
