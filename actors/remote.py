"""The rules for calling an actor's methods from another process, declared at each method.

Classes that run in actors mark their methods with ``remote``. ``actors.ray_client.ActorProxy`` calls them by these
rules. This module does not know Ray, so the classes stay plain and tests use them directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

_Method = TypeVar("_Method", bound=Callable[..., Any])
_RULE = "_remote_call"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCall:
    """The rule of one method. ``plus`` and ``plus_at`` name the argument that adds to the timeout."""

    timeout_s: float
    plus: str
    plus_at: int
    retry: bool
    ping: bool

    def limit_s(self, arguments: Sequence[Any], named: Mapping[str, Any]) -> float:
        """How long this call may take, in seconds."""
        if not self.plus:
            return self.timeout_s
        more_s: float = named[self.plus] if self.plus in named else arguments[self.plus_at]
        return self.timeout_s + more_s


def remote(
    *, timeout_s: float, plus: str = "", retry: bool = False, ping: bool = False
) -> Callable[[_Method], _Method]:
    """Allows calls of the method from another process, for at most ``timeout_s`` seconds.

    ``plus`` names an argument without a default whose seconds are added. ``retry``: the method may run twice, so the
    call waits for an actor that is being restarted and is repeated. ``ping``: the method must not run twice, so an
    actor that has not answered just before is pinged first. With neither, a call to an actor that is being restarted
    fails at once.
    """

    def mark(method: _Method) -> _Method:
        at = method.__code__.co_varnames.index(plus) - 1 if plus else -1
        setattr(method, _RULE, RemoteCall(timeout_s=timeout_s, plus=plus, plus_at=at, retry=retry, ping=ping))
        return method

    return mark


def remote_call(plain: type, name: str) -> RemoteCall:
    """The rule of the method. Raises ``AttributeError`` for a method without one."""
    rule: RemoteCall = getattr(getattr(plain, name), _RULE)
    return rule


def remote_methods(plain: type) -> tuple[str, ...]:
    """The names of all methods that may be called from another process."""
    return tuple(name for name in dir(plain) if hasattr(getattr(plain, name), _RULE))


def remote_parts(plain: type) -> Mapping[str, type]:
    """Attributes of an actor whose methods may be called too, with the class of each (``REMOTE_PARTS``)."""
    parts: Mapping[str, type] = getattr(plain, "REMOTE_PARTS", {})
    return parts
