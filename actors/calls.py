"""The one way to call a Ray actor: bounded in time, with our errors on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from ray.exceptions import RayActorError, RayTaskError

from actors.errors import PhalanxError, UnavailableError


async def answer_of(call: Awaitable[Any], what: str, timeout_s: float) -> Any:
    """Awaits the answer to a remote call.

    Raises what the actor raised when it is a ``PhalanxError``, and ``UnavailableError`` when the actor is gone, is just
    being restarted or does not answer within ``timeout_s`` seconds.
    """
    try:
        return await asyncio.wait_for(call, timeout_s)
    except TimeoutError:
        raise UnavailableError(f"{what} did not answer within {timeout_s:.0f} s: try again.") from None
    except RayActorError as error:
        raise UnavailableError(f"{what} is not running just now: try again.") from error
    except RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PhalanxError):
            raise cause from None
        raise PhalanxError(f"{what} failed: {error}") from error
