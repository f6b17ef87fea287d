"""Who leads whom in a round, and what the members of a team that leads itself are told to do; from the seed, pure.

Clients send such a team letters with lines ``@@demo team TOOL {...}``. The demo that gets one calls the team by its own
token: it sends a word to others, some of which ask for a word back in the same manner, or starts a hand, a specialist
that it ends again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.chaos.plan import Call, Letter

_MOST_WORDS = 3
_BACK = 0.6
_EXECUTIVE, _MANAGER, _SPECIALIST = "executive", "manager", "specialist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``lead``: the place of who leads it; None: the client that starts it."""

    role: str
    lead: int | None = None


TREE = (
    *[Place(role=_EXECUTIVE)] * 2,
    *[Place(role=_MANAGER, lead=0)] * 2,
    *[Place(role=_SPECIALIST, lead=2)] * 3,
    *[Place(role=_SPECIALIST, lead=3)] * 3,
    *[Place(role=_SPECIALIST, lead=1)] * 2,
)
"""Twelve. Leads come before those that they lead."""


def flat(count: int) -> Sequence[Place]:
    return [Place(role=_SPECIALIST)] * count


def levels(places: Sequence[Place]) -> list[list[int]]:
    """The places by how far they are from the top, the top first."""
    depths: list[int] = []
    for place in places:
        depths.append(0 if place.lead is None else depths[place.lead] + 1)
    return [[at for at, depth in enumerate(depths) if depth == level] for level in range(max(depths, default=-1) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Those of a tree: roles and leads by id. ``directory``: where they work."""

    roles: Mapping[str, str]
    leads: Mapping[str, str]
    directory: str

    def below(self, instance_id: str) -> list[str]:
        led = [one for one, lead in self.leads.items() if lead == instance_id]
        return [*led, *(one for each in led for one in self.below(each))]

    def may_send_to(self, instance_id: str) -> list[str]:
        """As in the table of ``supervisor.team.access``."""
        lead = self.leads.get(instance_id)
        above = [lead] if lead else []
        peers = [
            one
            for one, its_lead in self.leads.items()
            if its_lead == lead and one != instance_id and self.roles[one] == self.roles[instance_id] == _MANAGER
        ]
        return [*self.below(instance_id), *above, *peers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A message that one member sends to another."""

    text: str
    sender: str
    receiver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A specialist that a member starts and ends."""

    name: str
    lead: str
    context: str


@dataclass(frozen=True, slots=True)
class Errands:
    """All that members do by their tools when every letter has arrived."""

    words: list[Word] = field(default_factory=list)
    hands: list[Hand] = field(default_factory=list)


def plan_orders(seed: int, client: str, members: Members, numbers: range, hands: int) -> tuple[list[Letter], Errands]:
    """``hands``: how many of the letters have a member start one."""
    chance = Random(f"orders {client} {seed}")  # noqa: S311 - a schedule, no secret
    starting = set(chance.sample(numbers, min(hands, len(numbers))))
    leads = sorted(set(members.leads.values()))
    letters, errands = [], Errands()
    for number in numbers:
        title = f"order {number} of {client}"
        if number in starting:
            hand = Hand(name=f"hand-{number}", lead=chance.choice(leads), context=f"hand of {title}")
            errands.hands.append(hand)
            instance_id, lines = hand.lead, _lines_for(hand, members, chance.uniform(0, 0.5))
        else:
            instance_id = chance.choice(sorted(members.roles))
            words = _words(chance, number, instance_id, members)
            errands.words.extend(word for pair in words for word in pair)
            lines = [_line_for(first) for first, *_ in words]
        letters.append(Letter(number=number, client=client, instance_id=instance_id, text="\n".join([title, *lines])))
    return letters, errands


def last_call(seed: int, client: str, errands: Errands, first_number: int) -> Call:
    """Ends what is left of the hands, when nothing is killed any more: a call that ends one may get no answer."""
    leads = list(dict.fromkeys(hand.lead for hand in errands.hands))
    letters = []
    for number, lead in enumerate(leads, first_number):
        line = _ending(hand.name for hand in errands.hands if hand.lead == lead)
        letters.append(
            Letter(number=number, client=client, instance_id=lead, text=f"order {number} of {client}\n{line}")
        )
    messages = [{"instanceId": letter.instance_id, "message": letter.text} for letter in letters]
    arguments = {"messages": messages, "requestId": f"{client}-{seed}-last"}
    return Call(due_s=math.inf, tool="send_batch", arguments=arguments, letters=tuple(letters))


def _words(chance: Random, number: int, sender: str, members: Members) -> list[tuple[Word, ...]]:
    """What one letter has a member send; a word that asks for one back comes with that."""
    found: list[tuple[Word, ...]] = []
    for at in range(chance.randint(0, _MOST_WORDS)):
        receiver, title = chance.choice(members.may_send_to(sender)), f"word {number}.{at}"
        text = f"{title} from {sender}"
        if sender in members.may_send_to(receiver) and chance.random() < _BACK:
            back = Word(text=f"{title} back from {receiver} 日本語 🚀", sender=receiver, receiver=sender)
            found.append((Word(text=f"{text}\n{_line_for(back)}", sender=sender, receiver=receiver), back))
        else:
            found.append((Word(text=text, sender=sender, receiver=receiver),))
    return found


def _line_for(word: Word) -> str:
    return _team("send", {"instanceId": word.receiver, "message": word.text})


def _lines_for(hand: Hand, members: Members, lives_s: float) -> list[str]:
    wanted = {"role": _SPECIALIST, "workDir": members.directory, "context": hand.context, "name": hand.name}
    return [_team("spawn", wanted), f"@@demo busy {lives_s:.2f}", _ending([hand.name])]


def _ending(names: Iterable[str]) -> str:
    return _team("terminate", {"instanceIds": list(names)})


def _team(tool: str, arguments: Mapping[str, object]) -> str:
    return f"@@demo team {tool} {json.dumps(arguments)}"
