"""What must hold at the end of a round: one function a promise, each gives what is wrong in words, nothing when all is
well; pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from tests.chaos.arrivals import Arrival
from tests.chaos.copies import Told
from tests.chaos.ledger import Fate, Ledger
from tests.chaos.survey import RAY, Found, Kind
from tests.chaos.visits import DRAFT_MARK

Problems = list[str]
_SHOWN = 8

_ONE_EACH = (Kind.HEAD, Kind.GCS, Kind.RAYLET, Kind.SUPERVISOR, Kind.HOST, Kind.ENDPOINT, Kind.TMUX)
_SOME = {Kind.RAY_AGENT: 2, Kind.FORK_SERVER: 1, Kind.IDLE_WORKER: 8}
"""At most so many."""


def every_accepted_message_stands_once(fates: Iterable[Fate], arrivals: Sequence[Arrival]) -> Problems:
    """By id and by number: a call that was done twice has two ids for one number."""
    by_id = Counter(each.message_id for each in arrivals)
    by_title = Counter((each.instance_id, title_of(each.text)) for each in arrivals)
    problems = []
    for fate in fates:
        letter = fate.letter
        what = f"message {letter.number} of {letter.client} to {letter.instance_id} ({fate.message_id or 'no id'})"
        times = by_title[letter.instance_id, title_of(letter.text)]
        if fate.message_id and not by_id[fate.message_id]:
            problems.append(f"lost: {what} was accepted and is in no agent's log")
        elif times > 1:
            problems.append(f"doubled: {what} stands {times} times in its agent's log")
    return few(problems)


def every_text_is_exact(fates: Iterable[Fate], arrivals: Sequence[Arrival]) -> Problems:
    """Also that each went to the instance it was for."""
    accepted = {fate.message_id: fate.letter for fate in fates if fate.message_id}
    problems = []
    for each in arrivals:
        letter = accepted.get(each.message_id)
        if letter is None:
            continue
        if letter.instance_id != each.instance_id:
            problems.append(f"astray: message {letter.number} for {letter.instance_id} reached {each.instance_id}")
        elif letter.text.strip("\n") != each.text:
            problems.append(f"changed: message {letter.number} reached {each.instance_id} as {each.text[:200]!r}")
    return few(problems)


def nothing_else_arrived(fates: Iterable[Fate], arrivals: Sequence[Arrival], contexts: Mapping[str, str]) -> Problems:
    """``contexts``: the first message of each instance, which it gets once. A letter whose call was never answered may
    have arrived."""
    known = {fate.message_id for fate in fates if fate.message_id}
    unknown = {title_of(fate.letter.text) for fate in fates if not fate.message_id and not fate.refusal}
    begun: Counter[str] = Counter()
    problems = []
    for each in arrivals:
        if each.message_id in known or title_of(each.text) in unknown:
            continue
        if each.message_id and each.text == contexts.get(each.instance_id):
            begun[each.instance_id] += 1
        else:
            problems.append(
                f"foreign: {each.instance_id} got {each.message_id or 'without header'} {each.text[:200]!r}"
            )
    problems += [
        f"context: {instance_id} got its first message {begun[instance_id]} times"
        for instance_id in contexts
        if begun[instance_id] != 1
    ]
    return few(problems)


def order_is_kept(fates: Iterable[Fate], arrivals: Sequence[Arrival]) -> Problems:
    """Within each instance, what one client sent comes in the order in which it was sent."""
    accepted = {fate.message_id: fate.letter for fate in fates if fate.message_id}
    newest: dict[tuple[str, str], int] = {}
    problems = []
    for each in arrivals:
        letter = accepted.get(each.message_id)
        if letter is None:
            continue
        way = (letter.client, each.instance_id)
        if letter.number < newest.get(way, 0):
            problems.append(f"order: {each.instance_id} got {letter.number} of {letter.client} after {newest[way]}")
        newest[way] = max(letter.number, newest.get(way, 0))
    return few(problems)


def nothing_was_sent_for_a_person(arrivals: Iterable[Arrival]) -> Problems:
    """Also not together with a message."""
    return few(
        [
            f"submitted: {each.instance_id} got what a person had typed and not sent: {each.text[-300:]!r}"
            for each in arrivals
            if DRAFT_MARK in each.text
        ]
    )


def nothing_was_approved(ledger: Ledger, ran: Iterable[tuple[str, str]]) -> Problems:
    """``ran``: instance and command. What ran was asked for and allowed through ``respond``."""
    return few(
        [
            f"approved: {instance_id} ran {command!r}, and nobody had allowed it"
            for instance_id, command in sorted(ran)
            if (instance_id, command) not in ledger.allowed
        ]
    )


def every_call_was_answered(ledger: Ledger) -> Problems:
    """All agents live all the time, so there is no reason to refuse anything."""
    refused = [f"refused: message {f.letter.number}: {f.refusal}" for f in ledger.fates.values() if f.refusal]
    silent = [
        f"unanswered: message {f.letter.number} of {f.letter.client}"
        for f in ledger.fates.values()
        if not f.message_id and not f.refusal
    ]
    return few(refused) + few(silent) + few([f"given up: {call}" for call in ledger.abandoned])


def no_agent_was_restarted(
    before: Mapping[str, tuple[int, float]], after: Iterable[tuple[str, tuple[int, float]]]
) -> Problems:
    """Process id and start time by instance; ``after`` may name an instance twice."""
    now: dict[str, list[tuple[int, float]]] = {}
    for instance_id, identity in after:
        now.setdefault(instance_id, []).append(identity)
    problems = []
    for instance_id, identity in before.items():
        there = now.pop(instance_id, [])
        if not there:
            problems.append(f"agent: that of {instance_id} (process {identity[0]}) is gone")
        elif len(there) > 1:
            problems.append(f"agent: {instance_id} has {len(there)}: {', '.join(str(pid) for pid, _ in there)}")
        elif there != [identity]:
            problems.append(f"agent: that of {instance_id} was {identity[0]} and is {there[0][0]} now")
    return few(problems + [f"agent: {instance_id} was never spawned by us" for instance_id in now])


def registry_panes_and_actors_agree(
    ids: Collection[str], *, listed: Iterable[str], panes: Iterable[str], actors: Iterable[str]
) -> Problems:
    """``actors``: the instance of each actor's process, empty where it could not be told."""
    problems = []
    for what, members in {"the list": listed, "the panes": panes, "the actors": actors}.items():
        counted = Counter(members)
        untold = counted.pop("", 0)
        surplus = sum(counted.values()) + untold - len(ids)
        if surplus:
            problems.append(f"agreement: {what} are {len(ids) + surplus} instead of {len(ids)}")
        if foreign := counted.keys() - set(ids):
            problems.append(f"agreement: {what} hold {', '.join(sorted(foreign))}, which nobody spawned")
        if not untold and (missing := set(ids) - counted.keys()):
            problems.append(f"agreement: {what} lack {', '.join(sorted(missing))}")
        if doubled := sorted(member for member, times in counted.items() if times > 1):
            problems.append(f"agreement: {what} hold {', '.join(doubled)} more than once")
    return problems


def spares_are_whole(most: int, *, agents: Sequence[str], actors: Sequence[str], panes: Sequence[str]) -> Problems:
    """The names of the spare agents, of what follows them and of where they are."""
    problems = [f"spares: {len(agents)} agents where {most} are kept"] if len(agents) > most else []
    if not sorted(agents) == sorted(actors) == sorted(panes):
        problems.append(f"spares: the agents are {agents}, the actors {actors}, the panes {panes}")
    return problems


def no_orphan(found: Sequence[Found], instances: int, entries: int = 0) -> Problems:
    """``found``: all processes of the team; ``entries``: of the clients that are still there. Ray's must all be below
    the one head."""
    counted = Counter(each.kind for each in found)
    expected = {**dict.fromkeys(_ONE_EACH, 1), Kind.INSTANCE: instances, Kind.AGENT: instances}
    problems = [
        f"processes: {counted[kind]} of the kind {kind} instead of {count}"
        for kind, count in expected.items()
        if counted[kind] != count
    ]
    problems += [
        f"processes: {counted[kind]} of the kind {kind}" for kind, most in _SOME.items() if counted[kind] > most
    ]
    allowed = {*expected, *_SOME, Kind.REDIS}
    others = [each for each in found if each.kind not in allowed]
    of_clients = {each.pid for each in [each for each in others if each.kind is Kind.ENTRY][:entries]}
    problems += [f"orphan: {each.pid} {each.title} ({each.kind})" for each in others if each.pid not in of_clients]
    return few(problems + _outside_of_the_head(found))


def _outside_of_the_head(found: Sequence[Found]) -> Problems:
    parents = {each.pid: each.parent for each in found}
    heads = {each.pid for each in found if each.kind is Kind.HEAD}

    def is_below(pid: int) -> bool:
        while pid and pid not in heads:
            pid = parents.get(pid, 0)
        return pid in heads

    return [
        f"orphan: {each.pid} {each.title} is left from an earlier Ray"
        for each in found
        if each.kind in RAY and not is_below(each.pid)
    ]


def receipts_say_submitted(fates: Iterable[Fate], receipts: Mapping[str, str]) -> Problems:
    """``receipts``: the stored status by message id."""
    return few(
        [
            f"receipt: message {fate.letter.number} ({fate.message_id}): {receipts.get(fate.message_id, 'none')}"
            for fate in fates
            if fate.message_id and receipts.get(fate.message_id) != "submitted"
        ]
    )


def every_event_is_told_once(fates: Iterable[Fate], told: Sequence[Told], due: int) -> Problems:
    """``told``: the events by their numbers. ``due``: those without one. A message may be unconfirmed first."""
    problems = [f"events: {due} have happened and are not told"] if due else []
    numbers = [each.number for each in told]
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"events: the numbers of {len(numbers)} have gaps and end with {numbers[-1]}")
    settled = Counter((each.message_id, each.status) for each in told if each.kind == "message_final")
    problems += [
        f"events: {one} was told {times} times as {status}" for (one, status), times in settled.items() if times > 1
    ]
    accepted = [fate.message_id for fate in fates if fate.message_id]
    problems += [f"events: {one} was not told as submitted" for one in accepted if not settled[one, "submitted"]]
    return few(problems)


def copies_are_equal(file: Mapping[str, bytes], redis: Mapping[str, bytes]) -> Problems:
    problems = [f"copies: {key} is only in the file" for key in sorted(file.keys() - redis.keys())]
    problems += [f"copies: {key} is only in Redis" for key in sorted(redis.keys() - file.keys())]
    problems += [f"copies: {key} differs" for key in sorted(file.keys() & redis.keys()) if file[key] != redis[key]]
    return few(problems)


def list_never_told_a_wrong_story(ledger: Ledger) -> Problems:
    """Told once as long as it goes on."""
    problems = []
    for before, probe in pairwise([None, *(probe for probe in ledger.probes if probe.answered)]):
        if probe and probe.complaint and (before is None or before.complaint != probe.complaint):
            problems.append(f"list: at {probe.asked_at:.2f}: {probe.complaint}")
    return few(problems)


def idle_team_is_quiet(cores: float, most_cores: float) -> Problems:
    return [f"idle: the team uses {cores:.2f} cores with nothing to do"] if cores > most_cores else []


def nothing_is_left(found: Iterable[Found]) -> Problems:
    """After ``phalanx down``; the Redis is the test's own."""
    return [f"left behind: {each.pid} {each.title}" for each in found if each.kind is not Kind.REDIS]


def title_of(text: str) -> str:
    return text.strip("\n").partition("\n")[0]


def few(problems: Sequence[str]) -> Problems:
    if len(problems) <= _SHOWN:
        return list(problems)
    return [*problems[:_SHOWN], f"… and {len(problems) - _SHOWN} more that begin with {problems[0].partition(':')[0]}"]
