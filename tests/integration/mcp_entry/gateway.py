"""A gateway that answers a few calls from what a test gives it, for programs that connect to a team."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from actors.home import Home
from actors.sockets import pack, read_frame


@asynccontextmanager
async def team_that_answers(home: Home, answers: Mapping[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
    """``answers``: the results of calls by their verbs; a call of another verb is never answered. Yields the calls."""
    calls: list[dict[str, Any]] = []
    clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients[writer] = asyncio.current_task()
        while frame := await read_frame(reader):
            if "id" in frame:
                calls.append(frame)
                if frame["verb"] in answers:
                    writer.write(pack({"id": frame["id"], "result": answers[frame["verb"]]}))
            elif "protocol" in frame.get("hello", {}):
                writer.write(pack({"hello": {"version": frame["hello"]["version"], "protocol": 1}}))
        writer.close()

    home.root.mkdir(parents=True)
    async with await asyncio.start_unix_server(serve, home.gateway_socket):
        yield calls
        for each in clients:
            each.close()
        await asyncio.gather(*filter(None, clients.values()))
