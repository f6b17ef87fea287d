"""Whether a start, or limits that are given, are within the limits of all above; pure.

``Spawner`` asks before each start that an instance wants, and again when it takes the new instance in, with no await in
between: so two starts at once never take one last place. ``Lifecycle`` asks likewise before it starts one again that
was terminated. ``Access`` asks when an instance gives limits: what one above it has limited, it may narrow and not
widen. The user may start anything; only a limit of tokens (``supervisor.team.tokens``) holds for everyone. What is
refused says which limit of whom, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.agents.base import mode_named
from actors.errors import RefusedError
from supervisor.api import requests
from supervisor.team.registry import InstanceRecord, Limits, Registry


def check_start(parent_id: str | None, model: str | None, permission_mode: str | None, registry: Registry) -> None:
    """Raises ``RefusedError`` for a start that goes beyond a limit of one of those above it."""
    mode = mode_named(permission_mode)
    for levels, lead in enumerate(registry.line(parent_id), 1):
        limits, who = lead.record.limits, lead.record.instance_id
        if limits.depth is not None and levels > limits.depth:
            raise _refused(who, f"have {_number(limits.depth, 'level')} below it", "start none so deep")
        if limits.instances is not None and (there := _living_below(who, registry)) >= limits.instances:
            most = _number(limits.instances, "instance")
            raise _refused(who, f"have {most} below it at once, and has {there}", "terminate one whose work is done")
        if limits.models is not None and model not in limits.models:
            raise _refused(who, f"have {' or '.join(limits.models)} below it", "name one of these as model")
        if limits.permission_modes is not None and mode not in map(mode_named, limits.permission_modes):
            modes = " or ".join(limits.permission_modes)
            raise _refused(who, f"have {modes} below it, not {mode}", "name one of these as permissionMode")


def check_given(given: requests.Limits | None, parent_id: str | None, registry: Registry) -> None:
    """Raises ``RefusedError`` for limits of an instance under this parent that are wider than those above it."""
    wanted = Limits().changed(given)
    for levels, lead in enumerate(registry.line(parent_id), 1):
        wider = _wider(wanted, lead.record.limits, levels)
        if wider:
            raise RefusedError(
                f"The limits of {lead.record.instance_id} are narrower: {wider}. Give less, or leave that out: what "
                "holds above holds below too."
            )


def check_widened(
    request: requests.LimitRequest, record: InstanceRecord, caller: InstanceRecord, registry: Registry
) -> None:
    """Raises ``RefusedError`` when the caller would raise or lift what the user, or a lead above it, has limited."""
    now, then = record.limits, record.limits.changed(request.limits, request.lifted)
    above = {lead.record.instance_id for lead in registry.line(caller.parent_id)}
    for name in {*request.limits.given, *request.lifted}:
        before, after = getattr(now, name), getattr(then, name)
        if before is None or (after is not None and not _wider(Limits(**{name: after}), Limits(**{name: before}), 0)):
            continue
        setter = record.limits_set_by.get(name, "")
        if not setter or setter in above:
            who, may = (setter, f"{setter} or one above it") if setter else ("The user", "only the user")
            raise RefusedError(
                f"{who} has limited the {name.replace('_', ' ')} of {record.instance_id}: you may give less, and {may} "
                "may give more. Say to the one who leads you why more is needed."
            )


def _wider(wanted: Limits, above: Limits, levels: int) -> str:
    """The first limit above that these go beyond, in words; empty when they are within."""
    numbers = (
        ("instances", wanted.instances, above.instances),
        ("depth", wanted.depth, None if above.depth is None else max(above.depth - levels, 0)),
        ("tokens", wanted.tokens, above.tokens),
    )
    for name, number, most in numbers:
        if number is not None and most is not None and number > most:
            return f"{name} may be {most} at most"
    lists = (
        ("models", wanted.models, above.models),
        ("permissionModes", wanted.permission_modes, above.permission_modes),
    )
    for name, each, allowed in lists:
        if each is not None and allowed is not None and not set(map(mode_named, each)) <= set(map(mode_named, allowed)):
            return f"{name} may only be {', '.join(allowed)}"
    return ""


def _living_below(instance_id: str, registry: Registry) -> int:
    """One that has failed can be restarted, so it keeps its place until it is terminated."""
    return sum(not member.terminated for member in registry.below(instance_id))


def _refused(who: str, may: str, instead: str) -> RefusedError:
    return RefusedError(f"{who} may {may}: {instead}, or ask who leads {who} to raise that by limit.")


def _number(number: int, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number or 'no'} {of}s"


def in_force(record: InstanceRecord, registry: Registry) -> Sequence[Limits]:
    """Its own and those of all above it."""
    return (record.limits, *(lead.record.limits for lead in registry.line(record.parent_id)))
