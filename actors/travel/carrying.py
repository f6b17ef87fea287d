"""Fetching a parcel from another host, piece by piece, into a file. Knows no Ray: it is given what to ask."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from actors.errors import PhalanxError, UnavailableError
from actors.travel.values import Parcel


class Sender(Protocol):
    """The host that has packed the parcel."""

    async def piece(self, parcel_id: str, offset: int) -> bytes: ...
    async def discard(self, parcel_id: str) -> None: ...


@asynccontextmanager
async def carried(sender: Sender, parcel: Parcel, directory: Path) -> AsyncIterator[Path]:
    """The parcel as a file below ``directory`` (made if need be), there until the block ends.

    Raises ``PhalanxError`` when it cannot be had whole. The sender's copy is discarded in any case.
    """
    path = _path_in(directory)
    try:
        try:
            with path.open("xb") as file:
                await _copy(sender, parcel, file)
        finally:
            with suppress(PhalanxError):
                await sender.discard(parcel.parcel_id)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _path_in(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / f"{secrets.token_hex(8)}.arriving"


async def _copy(sender: Sender, parcel: Parcel, file: BinaryIO) -> None:
    at = 0
    while at < parcel.size:
        piece = await sender.piece(parcel.parcel_id, at)
        if not piece:
            raise UnavailableError(f"A parcel ended after {at} of {parcel.size} bytes: try again.")
        await asyncio.to_thread(file.write, piece)
        at += len(piece)
