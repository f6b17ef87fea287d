"""Many instances on three hosts get numbered messages while one host is cut off and another loses its power: the
promises of docs/reliability.md hold. The last module of this folder: it leaves hosts in ruins.

``TEST_CLUSTER_INSTANCES=100`` plays it in the size of a large team; each instance gets ten messages.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from supervisor.recovering.adoption import LEASE_S
from tests.chaos import checks
from tests.chaos.arrivals import Arrival
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Letter, plan_letters
from tests.cluster.asking import phalanx
from tests.cluster.rig import Rig, RigHost
from tests.cluster.rig.login import login_home
from tests.cluster.team.calling import PROJECT, done, entry_on, wait_until
from tests.cluster.team.post import Sender, arrived_at, last_taken_at

INSTANCES = int(os.environ.get("TEST_CLUSTER_INSTANCES", "24"))
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(800 + 10 * INSTANCES)]

MESSAGES = 10 * INSTANCES
LENGTH_S = 20.0 + MESSAGES / 20
"""How long the messages come."""
SAVED_S = 30.0
MOVED_S = 180.0 + 5 * INSTANCES
HEALED_S = 300.0
SEED = 7
TYPED_S = 5.0


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


@pytest.fixture(scope="module")
def run(rig: Rig, head: RigHost, make_short_tmp: Callable[[], Path]) -> Run:
    phalanx(head, "up")
    run = _spawned(head, Ledger(make_short_tmp() / "ledger.jsonl"))
    _storm(rig, head, run)
    hosts = {host.name: host for host in rig.hosts}
    everything = set(run.ledger.accepted)

    def all_there() -> bool:
        run.arrivals = arrived_at(hosts, run.places)
        return everything <= {each.message_id for each in run.arrivals}

    wait_until(all_there, 60)
    print("\n", {what: round(took_s, 1) for what, took_s in run.took_s.items()})
    return run


def _spawned(head: RigHost, ledger: Ledger) -> Run:
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
    run.note_places(_listed(head, run))
    return run


def _storm(rig: Rig, head: RigHost, run: Run) -> None:
    """A host is cut off at once, another loses its power when nobody sends from it any more; the first is healed when
    all go on elsewhere."""
    second, third = rig.hosts[1:]
    for host in (second, third):
        for instance_id in run.on(host):
            (_worktree(host, instance_id) / "draft.txt").write_text("draft\n")
    work_is_home = wait_until(lambda: _work_is_home(head, run), SAVED_S)
    assert work_is_home
    senders = [
        Sender(head, _letters("a", run, range(1, MESSAGES * 2 // 3)), run.ledger, LENGTH_S),
        Sender(second, _letters("b", run, range(MESSAGES * 2 // 3, MESSAGES + 1)), run.ledger, LENGTH_S / 3),
    ]
    for sender in senders:
        sender.start()
    time.sleep(LENGTH_S / 6)  # in the middle of the messages, whichever they are
    run.cut_at, cut_at = time.time(), time.monotonic()
    third.cut()
    senders[1].join(LENGTH_S + 60)
    second.lose_power()
    lost_at = time.monotonic()
    for sender, limit_s in zip(senders, (LENGTH_S + 120, 60), strict=True):
        sender.join(limit_s)
        assert sender.error is None, sender.error
    assert wait_until(lambda: _moved(head, run, second.name), MOVED_S), phalanx(head, "list")
    run.took_s["going on after the power cut"] = time.monotonic() - lost_at
    assert wait_until(lambda: _moved(head, run, third.name), MOVED_S), phalanx(head, "list")
    run.took_s["going on after the cut"] = time.monotonic() - cut_at
    run.note_places(_listed(head, run))
    third.heal()
    healed_at = time.monotonic()
    wait_until(lambda: not _sessions(third), HEALED_S)
    run.left_alone = _sessions(third)
    run.took_s["end of the stale copies"] = time.monotonic() - healed_at


def _worktree(host: RigHost, instance_id: str) -> Path:
    return host.home / ".phalanx" / "worktrees" / instance_id


def _letters(client: str, run: Run, numbers: range) -> Sequence[Letter]:
    letters = plan_letters(SEED, client, list(run.contexts), numbers)
    run.ledger.expect(letters)
    return letters


def _listed(head: RigHost, run: Run) -> Sequence[Mapping[str, Any]]:
    """Without those of teams before."""
    return [each for each in phalanx(head, "list")["instances"] if each["instanceId"] in run.contexts]


def _work_is_home(head: RigHost, run: Run) -> bool:
    """Raises ``RigError`` while something is missing."""
    looks = [f"git cat-file -e phalanx/{instance_id}:done.txt" for instance_id in run.contexts]
    looks += [f"git cat-file -e refs/phalanx/saved/{each}.latest:draft.txt" for each in run.away_from(head)]
    head.ssh("sh", "-e", "-c", "\n".join(["cd project", *looks]), timeout_s=60)
    return True


def _moved(head: RigHost, run: Run, lost: str) -> bool:
    listed = _listed(head, run)
    return len(listed) == len(run.contexts) and all(
        each["host"] != lost and each["status"] in ("ready", "working") for each in listed
    )


def _sessions(host: RigHost) -> set[str]:
    listed = host.inside(
        "sh", "-c", f"tmux -S {login_home()}/.phalanx/tmux.sock list-sessions -F '#S' 2>/dev/null; true"
    )
    return set(listed.split())


def test_the_instances_are_spread_evenly_and_all_go_on(rig: Rig, head: RigHost, run: Run) -> None:
    first = Counter(names[0] for names in run.places.values())
    assert set(first) == {host.name for host in rig.hosts}
    assert max(first.values()) - min(first.values()) <= 1
    assert {names[-1] for names in run.places.values()} == {head.name}
    assert _sessions(head) == set(run.contexts)


def test_every_accepted_message_arrives_once_unchanged_and_in_order(run: Run) -> None:
    fates = list(run.ledger.fates.values())

    assert len(run.ledger.accepted) == MESSAGES
    assert checks.every_call_was_answered(run.ledger) == []
    assert checks.every_accepted_message_stands_once(fates, run.arrivals) == []
    assert checks.every_text_is_exact(fates, run.arrivals) == []
    assert checks.nothing_else_arrived(fates, run.arrivals, run.contexts) == []
    assert checks.order_is_kept(fates, run.arrivals) == []


def test_work_is_there_where_an_instance_goes_on_also_what_was_not_committed(head: RigHost, run: Run) -> None:
    for number, instance_id in enumerate(run.contexts):
        assert (_worktree(head, instance_id) / "done.txt").read_text().strip() == str(number)
    assert run.away_from(head)
    for instance_id in run.away_from(head):
        assert (_worktree(head, instance_id) / "draft.txt").read_text() == "draft\n"
    head.ssh("git", "-C", "project", "fsck", "--strict")


def test_a_stale_copy_takes_nothing_after_its_lease_and_does_not_outlive_the_return_of_its_host(
    rig: Rig, head: RigHost, run: Run
) -> None:
    third = rig.hosts[2]
    assert run.on(third)
    assert run.left_alone == set()
    for instance_id in run.on(third):
        assert last_taken_at(third, instance_id) < run.cut_at + LEASE_S + TYPED_S
    sent = phalanx(head, "send", "--wait", run.on(third)[0], "afterwards")
    assert sent["status"] == "submitted"
    assert {each["host"] for each in _listed(head, run)} == {head.name}
