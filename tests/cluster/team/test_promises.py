"""Many instances on three hosts get numbered messages while a host is cut off and healed, another loses its power,
Redis restarts, and the head's Ray is killed: the promises of docs/reliability.md hold. The last module of this folder:
it leaves hosts in ruins.

``TEST_CLUSTER_INSTANCES=100`` plays it in the size of a large team; each instance gets ten messages.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.home import Home
from supervisor.team.adoption import LEASE_S
from tests.chaos import checks, copies
from tests.chaos.ledger import Ledger
from tests.cluster.asking import phalanx, sessions, wait_until
from tests.cluster.cluster import HostsUp
from tests.cluster.rig import Rig, RigHost
from tests.cluster.team.post import arrived_at, last_taken_at
from tests.cluster.team.storm import INSTANCES, MESSAGES, Run, listed, spawn_all, storm, worktree
from tests.integration.store.redis_server import RedisProcess, require_redis

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900 + 10 * INSTANCES)]

ARRIVED_S = 60.0 + INSTANCES
REDIS_BACK_S = 60.0
TYPED_S = 5.0


@pytest.fixture(scope="module")
def redis(rig: Rig, make_short_tmp: Callable[[], Path]) -> Iterator[RedisProcess]:
    """On a machine of its own, which the hosts reach."""
    require_redis()
    process = RedisProcess(make_short_tmp(), ["--bind", "127.0.0.1", rig.own_address], "s3cret")
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def run(hosts_up: HostsUp, head: RigHost, redis: RedisProcess, make_short_tmp: Callable[[], Path]) -> Run:
    url = f"redis://:{redis.password}@{hosts_up.rig.own_address}:{redis.port}/0"
    head.ssh("sh", "-c", f"umask 077; echo 'redis_url = \"{url}\"' > .phalanx/config.toml")
    phalanx(head, "up")
    run = spawn_all(head, Ledger(make_short_tmp() / "ledger.jsonl"))
    storm(hosts_up, redis, run)
    hosts = {host.name: host for host in hosts_up.rig.hosts}
    everything = set(run.ledger.accepted)

    def all_there() -> bool:
        run.arrivals = arrived_at(hosts, run.places)
        return everything <= {each.message_id for each in run.arrivals}

    wait_until(all_there, ARRIVED_S)
    print("\n", {what: round(took_s, 1) for what, took_s in run.took_s.items()})
    return run


def test_the_instances_are_spread_evenly_and_all_go_on(rig: Rig, head: RigHost, run: Run) -> None:
    first = Counter(names[0] for names in run.places.values())
    assert set(first) == {host.name for host in rig.hosts}
    assert max(first.values()) - min(first.values()) <= 1
    assert {names[-1] for names in run.places.values()} == {head.name}
    assert sessions(head) == set(run.contexts)


def test_every_accepted_message_arrives_once_unchanged_and_in_order(run: Run) -> None:
    fates = list(run.ledger.fates.values())

    assert len(run.ledger.accepted) == MESSAGES
    assert checks.every_call_was_answered(run.ledger) == []
    assert checks.every_accepted_message_stands_once(fates, run.arrivals) == []
    assert checks.every_text_is_exact(fates, run.arrivals) == []
    assert checks.nothing_else_arrived(fates, run.arrivals, run.contexts) == []
    assert checks.order_is_kept(fates, run.arrivals) == []


def test_receipts_say_that_all_has_arrived_and_redis_has_what_the_file_has(
    head: RigHost, redis: RedisProcess, run: Run
) -> None:
    assert wait_until(lambda: not phalanx(head, "list")["warnings"], REDIS_BACK_S), phalanx(head, "list")["warnings"]
    found = asyncio.run(copies.read(Home(head.home / ".phalanx"), redis.url))
    assert found is not None
    assert checks.copies_are_equal(found.file, found.redis) == []
    assert checks.receipts_say_submitted(run.ledger.fates.values(), copies.statuses(found.file)) == []


def test_work_is_there_where_an_instance_goes_on_also_what_was_not_committed(head: RigHost, run: Run) -> None:
    for number, instance_id in enumerate(run.contexts):
        assert (worktree(head, instance_id) / "done.txt").read_text().strip() == str(number)
    assert run.away_from(head)
    for instance_id in run.away_from(head):
        assert (worktree(head, instance_id) / "draft.txt").read_text() == "draft\n"
    head.ssh("git", "-C", "project", "fsck", "--strict")


def test_the_loss_of_the_head_restarts_no_agent(run: Run) -> None:
    before, after = run.agents_at_the_head
    assert len(before) == INSTANCES
    assert after == before


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
    assert {each["host"] for each in listed(head, run)} == {head.name}
