"""Bodies of requests, of which anybody on the machine may send one: bounded in size and time, refused in words.

``app`` and ``browser`` read a body only when they know who sends it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Send

MAX_BODY_BYTES = 4 << 20
BODY_S = 20.0
_DRAIN_S = 1.0


async def whole_body(request: Request) -> bytes | Response:
    """The body, or why it is not taken. Raises ``ClientDisconnect``."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _body(request)
    except TimeoutError:
        return PlainTextResponse(f"The request did not end within {BODY_S:.0f} s.", 408)


async def refuse(request: Request, refusal: Response, send: Send) -> None:
    """Takes in a body that is short first: while the client still sends, it could not read the answer."""
    await pass_over(request)
    await refusal(request.scope, request.receive, send)


async def pass_over(request: Request) -> None:
    """Takes in what is left of a body that is short, and keeps nothing of it."""
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DRAIN_S):
            left_bytes = 0 if _is_declared_too_large(request) else MAX_BODY_BYTES
            async for part in request.stream():
                left_bytes -= len(part)
                if left_bytes < 0:
                    return


async def _body(request: Request) -> bytes | Response:
    too_large = PlainTextResponse(f"The request is larger than {MAX_BODY_BYTES >> 20} MB: give less at once.", 413)
    if _is_declared_too_large(request):
        return too_large
    body = bytearray()
    async for part in request.stream():
        if len(body) + len(part) > MAX_BODY_BYTES:
            return too_large
        body += part
    return bytes(body)


def _is_declared_too_large(request: Request) -> bool:
    declared = request.headers.get("content-length", "0")
    return declared.isdecimal() and int(declared) > MAX_BODY_BYTES
