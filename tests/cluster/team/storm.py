"""What ``test_promises`` plays: many instances on three hosts get numbered messages while hosts, Redis and head go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.arrivals import Arrival
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Letter, plan_letters
from tests.cluster.asking import agents, kill_ray, phalanx, sessions, wait_until
from tests.cluster.cluster import HostsUp
from tests.cluster.rig import RigHost
from tests.cluster.team.calling import PROJECT, done, entry_on
from tests.cluster.team.post import Sender
from tests.integration.store.redis_server import RedisProcess

INSTANCES = int(os.environ.get("TEST_CLUSTER_INSTANCES", "24"))
MESSAGES = 10 * INSTANCES
_LENGTH_S = 20.0 + MESSAGES / 20
"""How long most of the messages come."""
_SAVED_S = 30.0 + 2 * INSTANCES
_MOVED_S = 180.0 + 5 * INSTANCES
_HEALED_S = 300.0
_BACK_S = 180.0 + 3 * INSTANCES
_SEED = 7


@dataclass(slots=True)
class Run:
    """What happened. ``places``: the hosts on which each instance has been, in order."""

    ledger: Ledger
    contexts: Mapping[str, str]
    places: dict[str, list[str]] = field(default_factory=dict)
    cut_at: float = 0.0
    """Seconds since the epoch."""
    took_s: dict[str, float] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    left_alone: set[str] = field(default_factory=set)
    """Sessions on the host that was cut off, once it was back for as long as it takes to clear it."""
    agents_at_the_head: list[set[str]] = field(default_factory=list)
    """Before the head's Ray was killed, and after it had come back."""

    def on(self, host: RigHost) -> list[str]:
        """Who was there at first."""
        return [instance_id for instance_id, names in self.places.items() if names[0] == host.name]

    def away_from(self, head: RigHost) -> list[str]:
        return [instance_id for instance_id in self.contexts if instance_id not in self.on(head)]

    def note_places(self, listed: Iterable[Mapping[str, Any]]) -> None:
        for each in listed:
            been = self.places.setdefault(each["instanceId"], [])
            if each["host"] not in been[-1:]:
                been.append(each["host"])


def spawn_all(head: RigHost, ledger: Ledger) -> Run:
    contexts = [f"You are number {number}.\n@@demo commit done.txt {number}" for number in range(INSTANCES)]
    members = [{"role": "specialist", "workDir": str(PROJECT), "context": context} for context in contexts]
    begun = time.monotonic()
    with entry_on(head) as entry:
        made: list[str] = []
        for first in range(0, INSTANCES, 50):
            results = done(entry.call("spawn_batch", instances=members[first : first + 50]))["instances"]
            assert all(each["success"] for each in results), results
            made += [each["instanceId"] for each in results]
    run = Run(ledger, dict(zip(made, contexts, strict=True)))
    run.took_s["spawn"] = time.monotonic() - begun
    run.note_places(listed(head, run))
    return run


def storm(up: HostsUp, redis: RedisProcess, run: Run) -> None:
    """A host is cut off at once, another loses its power when nobody sends from it any more, then Redis goes and comes
    back. When all go on elsewhere the first host is healed, and the head is lost."""
    head = up.rig.hosts[0]
    save_drafts(up.rig.hosts, run)
    half, quarter = MESSAGES // 2, MESSAGES // 4
    lose_two_hosts_and_redis(up, redis, run, (range(1, half), range(half, half + quarter)))
    run.note_places(listed(head, run))
    lose_the_head_while_a_host_is_healed(up, run, range(half + quarter, MESSAGES + 1))


def save_drafts(hosts: Sequence[RigHost], run: Run) -> None:
    """What is not committed, come home."""
    head, *workers = hosts
    begun = time.monotonic()
    for host in workers:
        for instance_id in run.on(host):
            (worktree(host, instance_id) / "draft.txt").write_text("draft\n")
    assert wait_until(lambda: _work_is_home(head, run), _SAVED_S)
    run.took_s["work is home"] = time.monotonic() - begun


def lose_two_hosts_and_redis(up: HostsUp, redis: RedisProcess, run: Run, numbers: tuple[range, range]) -> None:
    head, second, third = up.rig.hosts
    begun = time.monotonic()
    senders = [
        Sender(head, _letters("a", run, numbers[0]), run.ledger, _LENGTH_S),
        Sender(second, _letters("b", run, numbers[1]), run.ledger, _LENGTH_S / 3),
    ]
    for sender in senders:
        sender.start()
    time.sleep(_LENGTH_S / 6)  # in the middle of the messages, whichever they are
    run.cut_at, cut_at = time.time(), time.monotonic()
    third.cut()
    _finish(senders[1], _LENGTH_S + 60)
    second.lose_power()
    lost_at = time.monotonic()
    redis.kill()
    _finish(senders[0], _LENGTH_S + 120)
    redis.start()
    run.took_s["messages"] = time.monotonic() - begun
    assert wait_until(lambda: _moved(head, run, second.name), _MOVED_S), phalanx(head, "list")
    run.took_s["going on after the power cut"] = time.monotonic() - lost_at
    assert wait_until(lambda: _moved(head, run, third.name), _MOVED_S), phalanx(head, "list")
    run.took_s["going on after the cut"] = time.monotonic() - cut_at


def lose_the_head_while_a_host_is_healed(up: HostsUp, run: Run, numbers: range) -> None:
    head, second, third = up.rig.hosts
    sender = Sender(head, _letters("c", run, numbers), run.ledger, _LENGTH_S / 3)
    run.agents_at_the_head.append(agents(head))
    sender.start()
    time.sleep(_LENGTH_S / 9)  # in the middle again
    begun = time.monotonic()
    third.heal()
    kill_ray(head)
    up.launcher.up("--restart-only")
    phalanx(head, "up", timeout_s=_BACK_S)
    assert wait_until(lambda: _moved(head, run, second.name), _BACK_S), phalanx(head, "list")
    run.took_s["the head is back"] = time.monotonic() - begun
    _finish(sender, _LENGTH_S + 120)
    wait_until(lambda: not sessions(third), _HEALED_S)
    run.took_s["end of the stale copies"] = time.monotonic() - begun
    run.left_alone = sessions(third)
    run.agents_at_the_head.append(agents(head))


def _finish(sender: Sender, limit_s: float) -> None:
    sender.join(limit_s)
    assert not sender.is_alive()
    assert sender.error is None, sender.error


def worktree(host: RigHost, instance_id: str) -> Path:
    return host.home / ".phalanx" / "worktrees" / instance_id


def _letters(client: str, run: Run, numbers: range) -> Sequence[Letter]:
    letters = plan_letters(_SEED, client, list(run.contexts), numbers)
    run.ledger.expect(letters)
    return letters


def listed(head: RigHost, run: Run) -> Sequence[Mapping[str, Any]]:
    """Without those of teams before."""
    return [each for each in phalanx(head, "list")["instances"] if each["instanceId"] in run.contexts]


def _work_is_home(head: RigHost, run: Run) -> bool:
    """Raises ``RigError`` while something is missing."""
    looks = [f"git cat-file -e phalanx/{instance_id}:done.txt" for instance_id in run.contexts]
    looks += [f"git cat-file -e refs/phalanx/saved/{each}.latest:draft.txt" for each in run.away_from(head)]
    head.ssh("sh", "-e", "-c", "\n".join(["cd project", *looks]), timeout_s=60)
    return True


def _moved(head: RigHost, run: Run, lost: str) -> bool:
    there = listed(head, run)
    return len(there) == len(run.contexts) and all(
        each["host"] != lost and each["status"] in ("ready", "busy") for each in there
    )
