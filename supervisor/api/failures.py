"""What a caller is told of a failure: a ``PhalanxError`` in its own words, another error by a reference to the log.

The gateway uses it for a whole call; batches use it for one member, because a failing member fails alone. It writes to
the log.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable
from typing import TypeVar

from actors.errors import PhalanxError, to_wire
from supervisor.api.results import ErrorInfo

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def told(error: Exception, what: str) -> dict[str, str]:
    """As ``to_wire``. ``what`` has failed; it is the subject of the sentence."""
    if isinstance(error, PhalanxError):
        return to_wire(error)
    reference = secrets.token_hex(4)
    logger.error("%s failed, reference %s", what, reference, exc_info=error)
    text = f"{what} failed inside the supervisor; its log says why under reference {reference}."
    return {"code": PhalanxError.code, "message": text}


def error_info(error: Exception, what: str) -> ErrorInfo:
    return ErrorInfo(**told(error, what))


async def alone(work: Awaitable[_Result], what: str) -> _Result | ErrorInfo:
    """The outcome of one member of a batch: what fails there fails alone."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - told and logged
        return error_info(error, what)
