"""The one way to make and call Ray actors: bounded in time, with our errors on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.errors import PhalanxError, UnavailableError

NAMESPACE = "phalanx"
_CALLS_AT_ONCE = 1000
"""All our actors are asynchronous; a long poll must not keep other calls out."""


def actor_class(plain: type) -> Any:
    """``plain`` as a Ray actor that costs no cores to place and comes back after every crash."""
    remote: Any = ray.remote
    return remote(num_cpus=0, max_restarts=-1, max_concurrency=_CALLS_AT_ONCE)(plain)


def named_actor(actor: Any, name: str, *arguments: object) -> Any:
    """The handle of the detached actor of this name, made if there is none."""
    options = actor.options(name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True)
    return options.remote(*arguments)


async def answer_of(call: Awaitable[Any], what: str, timeout_s: float) -> Any:
    """Awaits the answer to a remote call.

    Raises what the actor raised when it is a ``PhalanxError``, and ``UnavailableError`` when the actor is gone, is just
    being restarted or does not answer within ``timeout_s`` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 can swallow a cancellation
            return await call
    except TimeoutError:
        raise UnavailableError(f"{what} did not answer within {timeout_s:.0f} s: try again.") from None
    except RayActorError as error:
        raise UnavailableError(f"{what} is not running just now: try again.") from error
    except RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PhalanxError):
            raise cause from None
        raise PhalanxError(f"{what} failed: {error}") from error
