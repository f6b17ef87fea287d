"""Makes, calls, finds and ends Ray actors, with a time limit on each step and this project's errors on both sides.

The supervisor, the host actor and the relay call Ray only through this module. Some calls of Ray block the calling
thread: naming, finding and killing an actor ask Ray's control store and hang for a minute when that is gone. They run
in a thread of their own here, so no event loop stands still.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

import ray
import ray.util
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.concurrency import whole
from actors.errors import PhalanxError, UnavailableError
from actors.nodes import SLOT
from actors.remote import RemoteCall, remote_call, remote_methods, remote_parts
from actors.resting import begin_to_rest, forget, knock
from actors.versions import ACTOR_PROTOCOL, check_protocol

NAMESPACE = "phalanx"
SUPERVISOR = "supervisor"
"""The name of the supervisor's actor."""
RAY_S = 20.0
"""Longest that Ray may take to make, find or end an actor."""
AWAY_S = 20.0
"""Longest wait for an actor that is being restarted."""
_AWAY_POLL_S = 0.1
PING_S = 30.0
FRESH_S = 0.5
"""An actor that has answered within this time is not pinged before a write."""
_Answer = TypeVar("_Answer")
_CALLS_AT_ONCE = 1000
"""All actors are asynchronous; a long poll must not block other calls."""


class ActorAwayError(UnavailableError):
    """The actor is gone or being restarted. The call may have been done or not."""


class _RestingMainThread:
    """As a class attribute it begins in the actor's process, which deserializes the class in its main thread."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _begin_to_rest, ()


def _begin_to_rest() -> _RestingMainThread:
    begin_to_rest(lambda: ray.get_runtime_context().get_actor_name())
    return _RestingMainThread()


def actor_class(plain: type) -> Any:
    """``plain`` as a Ray actor that reserves no cores, is restarted after every crash, and rests; see ``resting``.

    For ``ActorProxy`` it gets a method ``PART_METHOD`` for each remote method of its remote parts.
    """
    for part, its_class in remote_parts(plain).items():
        for name in remote_methods(its_class):
            setattr(plain, f"{part}_{name}", _method_of_part(part, name))
    remote: Any = ray.remote
    # A class of no module, which Ray sends by value, with the attribute.
    sent = type(plain.__name__, (plain,), {"resting_main_thread": _RestingMainThread()})
    return remote(num_cpus=0, max_restarts=-1, max_concurrency=_CALLS_AT_ONCE)(sent)


def _method_of_part(part: str, name: str) -> Callable[..., Awaitable[Any]]:
    async def forward(self: object, *arguments: Any, **named: Any) -> Any:
        return await getattr(getattr(self, part), name)(*arguments, **named)

    return forward


def own_namespace() -> str:
    """The Ray namespace of the team that runs this code."""
    return str(ray.get_runtime_context().namespace)


def named_actor(actor: Any, name: str, *arguments: object, **options: object) -> Any:
    """The handle of the detached actor of this name, created if absent, awake. Blocks: not for an event loop."""
    named = {"name": name, "namespace": own_namespace(), "lifetime": "detached", "get_if_exists": True}
    handle = actor.options(**named, **options).remote(*arguments)
    knock(name)
    return handle


def on_host(address: str, slots: int = 0) -> dict[str, object]:
    """The option that pins an actor to the host with this address, also after a restart of Ray there.

    ``slots``: how many instance slots of the host the actor takes.
    """
    return {"resources": {f"node:{address}": 0.001, **({SLOT: slots} if slots else {})}}


async def make_actor(actor: Any, name: str, *arguments: object, **options: object) -> Any:
    """``named_actor`` for an event loop. Raises ``UnavailableError`` when Ray does not answer.

    Who is cancelled meanwhile waits for Ray's answer: an actor that is ended after that must not come to be later.
    """
    make = partial(named_actor, actor, name, *arguments, **options)
    return await whole(in_thread(make, f"Ray, asked for the actor {name},"))


async def find_actor(name: str) -> Any:
    """The handle of this team's actor of this name. Raises ``ValueError`` when there is none, ``UnavailableError``."""
    return await in_thread(lambda: ray.get_actor(name, namespace=own_namespace()), f"Ray, asked for the actor {name},")


async def end_actor(name: str) -> None:
    """Ends the actor of this name for good; no-op when there is none.

    Returns when Ray has been told. Raises ``UnavailableError`` when Ray does not answer.
    """

    with suppress(ValueError):
        actor = await find_actor(name)
        await in_thread(lambda: ray.kill(actor, no_restart=True), f"Ray, asked to end the actor {name},")
    forget(name)


async def actor_names(prefix: str) -> tuple[str, ...]:
    """The names of this team's actors that begin with ``prefix``, including those that are being restarted.

    Raises ``UnavailableError`` when Ray does not answer.
    """
    listed = await in_thread(lambda: ray.util.list_named_actors(all_namespaces=True), "Ray, asked for its actors,")
    names = (actor["name"] for actor in listed if actor["namespace"] == own_namespace())
    return tuple(sorted(name for name in names if name.startswith(prefix)))


async def in_thread(function: Callable[[], _Answer], what: str) -> _Answer:
    """Runs a blocking call of Ray in a thread. Raises ``UnavailableError`` when Ray does not answer.

    Not in the loop's pool, whose few threads would soon all wait for a Ray that is gone.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Answer] = loop.create_future()

    def settle(result: _Answer | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(cast("_Answer", result))
        else:
            answer.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as caught:  # noqa: BLE001 - handed to the caller
            error = caught
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="asks Ray", daemon=True).start()
    result: _Answer = await answer_of(answer, what, RAY_S)
    return result


async def meet(actor: Any, what: str, timeout_s: float) -> None:
    """Returns when the actor answers. Raises ``VersionError`` when its protocol is another."""
    ask = getattr(actor, "meet", None)
    if ask is None:
        check_protocol(0, "this supervisor", what, ACTOR_PROTOCOL)
        return
    await answer_when_back(lambda: ask.remote(ACTOR_PROTOCOL), what, timeout_s)


async def answer_of(call: Awaitable[Any], what: str, timeout_s: float) -> Any:
    """Awaits the answer to a remote call.

    Raises the actor's ``PhalanxError``, ``ActorAwayError`` when it is gone or being restarted, and ``UnavailableError``
    when it does not answer within ``timeout_s`` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 can swallow a cancellation
            return await call
    except TimeoutError:
        raise UnavailableError(f"{what} did not answer within {timeout_s:.0f} s: try again.") from None
    except RayActorError as error:
        raise ActorAwayError(f"{what} is not running now: try again.") from error
    except RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PhalanxError):
            raise cause from None
        raise PhalanxError(f"{what} failed: {error}") from error
    except RayError as error:
        raise UnavailableError(f"{what} cannot be reached now ({type(error).__name__}): try again.") from error


async def answer_when_back(call: Callable[[], Awaitable[Any]], what: str, timeout_s: float) -> Any:
    """``answer_of`` for a call that may run twice: waits for an actor that is being restarted."""
    deadline = asyncio.get_running_loop().time() + AWAY_S
    while True:
        try:
            return await answer_of(call(), what, timeout_s)
        except ActorAwayError:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_AWAY_POLL_S)


class ActorProxy:
    """Calls the actor that runs a ``plain`` object: its remote methods, and those of its remote parts.

    It has the methods of ``plain`` and is cast to that type. The method's rule (``actors.remote``) says how long a call
    may take and whether it is retried; a call raises as ``answer_of``. Belongs to one event loop; can be pickled.
    """

    def __init__(self, actor: Any, plain: type, called: str, name: str = "", prefix: str = "") -> None:
        """``called``: the actor's name in error texts. ``name``: in Ray; without it the actor is not woken by a knock.

        ``prefix``: of the actor's method names.
        """
        self._actor = actor
        self._plain = plain
        self._called = called
        self._name_in_ray = name
        self._prefix = prefix
        self._answered_at = -math.inf

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorProxy, (self._actor, self._plain, self._called, self._name_in_ray, self._prefix)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        part = remote_parts(self._plain).get(name)
        made: Any = (
            partial(self._ask, remote_call(self._plain, name), name)
            if part is None
            else ActorProxy(self._actor, part, self._called, self._name_in_ray, f"{name}_")
        )
        setattr(self, name, made)  # cached: the next access does not come here
        return made

    async def _ask(self, call: RemoteCall, name: str, /, *arguments: Any, **named: Any) -> Any:
        limit_s = call.limit_s(arguments, named)
        loop = asyncio.get_running_loop()

        def begin() -> Awaitable[Any]:
            made: Awaitable[Any] = getattr(self._actor, self._prefix + name).remote(*arguments, **named)
            knock(self._name_in_ray)
            return made

        if call.retry:
            answer = await answer_when_back(begin, self._called, limit_s)
        else:
            if call.ping and loop.time() - self._answered_at > FRESH_S:
                knock(self._name_in_ray)
                await meet(self._actor, self._called, PING_S)
            answer = await answer_of(begin(), self._called, limit_s)
        self._answered_at = loop.time()
        return answer
