"""What a round does and when, all of it from one seed: the calls of its clients and the kills; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

_CALLS_BETWEEN_LOOKS = 6
_LONGEST_BATCH = 25
_WAITED_FOR_S = 20.0
_ASKING = 0.04


class Target(StrEnum):
    """What can be killed, and what else can be done to Redis. The value is how people read it."""

    SUPERVISOR = "supervisor"
    INSTANCES = "instance actors"
    HOST = "host actor"
    RAYLET = "raylet"
    GCS = "GCS"
    REDIS = "Redis"
    REDIS_EMPTIED = "Redis, back empty"
    REDIS_STALLED = "Redis, stalled"
    ENTRY = "one entry"
    ENTRIES = "both entries"
    ENDPOINT = "endpoint"
    BRING_UP = "a bring-up at work"
    RAY = "all of Ray"
    RAY_STARTING = "Ray while it starts"
    EVERYTHING = "Ray, Redis, entries and endpoint at once"


class Aim(StrEnum):
    """What a kill waits for, if it comes soon."""

    NONE = "none"
    AFTER_A_SEND = "after a send"
    WHILE_TYPING = "while typing"
    DURING_A_CALL = "during a call of an instance"


AIMS = (Aim.NONE, Aim.AFTER_A_SEND, Aim.WHILE_TYPING)
TARGETS_IN_A_TREE = (*Target, *[Target.ENDPOINT] * 2)
"""The endpoint more often: who calls there is what such a round is about."""
AIMS_IN_A_TREE = (*AIMS, Aim.DURING_A_CALL, Aim.DURING_A_CALL)

_WEIGHTS: Mapping[Target, int] = {
    Target.SUPERVISOR: 4,
    Target.INSTANCES: 5,
    Target.HOST: 2,
    Target.RAYLET: 1,
    Target.GCS: 1,
    Target.REDIS: 2,
    Target.REDIS_STALLED: 1,
    Target.ENTRY: 2,
    Target.ENTRIES: 1,
    Target.ENDPOINT: 2,
    Target.BRING_UP: 1,
    Target.RAY: 1,
    Target.RAY_STARTING: 1,
    Target.EVERYTHING: 1,
}
"""How often each comes beside the one time that every round has it. Redis loses everything just once a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One numbered message that a client will send."""

    number: int
    client: str
    instance_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call, due that many seconds after the load began. ``letters`` are what it sends, in its order."""

    due_s: float
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    letters: tuple[Letter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """``after_s`` is counted from the kill before, ``down_s`` is how long Redis stays away."""

    target: Target
    after_s: float
    count: int = 1
    down_s: float = 0.0
    aim: Aim = Aim.NONE
    aim_s: float = 0.0
    """That long after the moment that ``aim`` waits for."""
    unanswered: bool = False
    """The supervisor is held from the moment that ``aim`` waits for until after the kill: it does what was called, and
    nobody hears of it."""
    let_recover: bool = False
    """The kill after this one waits until the team is well again."""


def plan_kills(
    seed: int,
    count: int,
    targets: Sequence[Target] = tuple(Target),
    longest_pause_s: float = 4.0,
    aims: Sequence[Aim] = AIMS,
) -> list[Kill]:
    """Each target once and then by weight, in random order."""
    chance = Random(f"kills {seed}")  # noqa: S311 - a schedule, no secret
    chosen = list(targets)[:count]
    weighted = [target for target in targets if target in _WEIGHTS]
    weights = [_WEIGHTS[target] for target in weighted]
    chosen += chance.choices(weighted, weights, k=count - len(chosen))
    chance.shuffle(chosen)
    recoveries = set(chance.sample(range(count), max(1, count // 7))) if count else set()
    return [_kill(chance, target, longest_pause_s, aims, at in recoveries) for at, target in enumerate(chosen)]


def _kill(chance: Random, target: Target, longest_pause_s: float, aims: Sequence[Aim], let_recover: bool) -> Kill:
    unanswered = target is Target.ENDPOINT and Aim.DURING_A_CALL in aims
    return Kill(
        target=target,
        after_s=chance.uniform(0, longest_pause_s),
        count=chance.randint(1, 5) if target is Target.INSTANCES else 1,
        down_s=chance.uniform(0.5, 5.0),
        aim=Aim.DURING_A_CALL if unanswered else chance.choice(aims),
        aim_s=chance.uniform(0.2, 1.0) if unanswered else chance.choice((0.0, chance.uniform(0, 0.3))),
        unanswered=unanswered,
        let_recover=let_recover,
    )


def expected_length_s(kills: Sequence[Kill], recovery_s: float = 6.0) -> float:
    """About how long the kills take; the load is spread over that time."""
    return sum(kill.after_s + (recovery_s if kill.let_recover else 0) for kill in kills)


def plan_letters(
    seed: int,
    client: str,
    instance_ids: Sequence[str],
    numbers: range,
    asks: Callable[[str], str] | None = None,
) -> list[Letter]:
    """``asks``: the line that makes an agent ask whether it may run a command; a share of the letters has one."""
    chance = Random(f"letters {client} {seed}")  # noqa: S311
    letters = []
    for number in numbers:
        instance_id, text = chance.choice(instance_ids), _text(chance, number, client)
        if asks is not None and chance.random() < _ASKING:
            text = f"order {number} of {client}\n{asks(f'touch ran-{number}')}"
        letters.append(Letter(number=number, client=client, instance_id=instance_id, text=text))
    return letters


def _text(chance: Random, number: int, client: str) -> str:
    title = f"order {number} of {client}"
    body = chance.choices(
        (
            "",
            "\n".join(f"line {line} of {number}" for line in range(chance.randint(2, 9))),
            f'日本語 🚀 {number} $(touch never) `!` "/exit"',
            "\n".join("0123456789" * 9 for _ in range(chance.randint(10, 40))),
            "@@demo busy 0.4",
            "@@demo swallow-enter",
        ),
        (60, 15, 8, 7, 7, 3),
    )[0]
    return f"{title}\n{body}" if body else title


def plan_calls(
    seed: int, client: str, letters: Sequence[Letter], length_s: float, longest_batch: int = _LONGEST_BATCH
) -> list[Call]:
    """The letters in batches, in their order, evenly over ``length_s``; now and then a look at the team."""
    chance = Random(f"calls {client} {seed}")  # noqa: S311
    calls: list[Call] = []
    sent = 0
    while sent < len(letters):
        size = min(chance.choice((1, chance.randint(2, longest_batch))), len(letters) - sent)
        due_s = length_s * sent / len(letters)
        calls.append(_send(chance, due_s, letters[sent : sent + size], f"{client}-{seed}-{letters[sent].number}"))
        if chance.randrange(_CALLS_BETWEEN_LOOKS) == 0:
            calls.append(_look(chance, due_s, letters[sent].instance_id))
        sent += size
    return calls


def _send(chance: Random, due_s: float, letters: Sequence[Letter], request_id: str) -> Call:
    common = {"requestId": request_id, "wait": chance.random() < 0.15, "timeoutSeconds": _WAITED_FOR_S}
    messages = [
        {"instanceId": letter.instance_id, "message": letter.text, "immediate": chance.random() < 0.1}
        for letter in letters
    ]
    if len(letters) == 1:
        return Call(due_s=due_s, tool="send", arguments={**messages[0], **common}, letters=tuple(letters))
    return Call(due_s=due_s, tool="send_batch", arguments={"messages": messages, **common}, letters=tuple(letters))


def _look(chance: Random, due_s: float, instance_id: str) -> Call:
    looks = (
        Call(due_s=due_s, tool="list"),
        Call(due_s=due_s, tool="read", arguments={"instanceId": instance_id}),
        Call(due_s=due_s, tool="read", arguments={"instanceId": instance_id, "source": "screen"}),
        Call(
            due_s=due_s,
            tool="wait",
            arguments={"instanceIds": [instance_id], "until": "any_idle", "timeoutSeconds": 1.0},
        ),
    )
    return chance.choice(looks)
