from __future__ import annotations

from dataclasses import replace

from actors.instance.reports import InstanceSnapshot
from actors.instance.state import PendingPermission
from actors.messages import Message, MessageStatus
from actors.status import Status
from supervisor.metrics.health import judge
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.metrics.monitor import Monitor
from supervisor.metrics.snapshot import HostSnapshot, StalledItem
from supervisor.settings.live import LiveSettings
from supervisor.spawning.admission import FairSemaphore
from supervisor.store.guards import FencedStore
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.hosts import FakeHost, host_load
from tests.fakes.metrics import tuning
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, outgoing, receipt


def a_machine(name: str = "desk") -> FakeHost:
    host = FakeHost(name)
    host.load_now = host_load(host=name, load_1m=1.0)
    return host


def working(host: FakeHost, busy_s: float, total_s: float) -> None:
    """The host's cores were busy for so long in all of the time that passed."""
    now = host.load_now
    host.load_now = replace(now, cpu_busy_s=now.cpu_busy_s + busy_s, cpu_total_s=now.cpu_total_s + total_s)


class Scene:
    def __init__(self, *machines: FakeHost) -> None:
        self.at = 1000.0
        store = FencedStore(MemoryStore())
        self.team = Team(store, recorder=MetricsRecorder(lambda: self.at))
        self.monitor = Monitor(
            self.team,
            store,
            FairSemaphore(5),
            LiveSettings(tuning()),
            lambda: {machine.load_now.host: machine for machine in machines},
        )

    async def looks(self, later_s: float = 0.0) -> tuple[HostSnapshot, ...]:
        self.at += later_s
        return (await self.monitor.snapshot(300)).hosts


async def test_two_looks_tell_how_busy_a_host_was_between_them() -> None:
    machine = a_machine()
    scene = Scene(machine)
    await scene.looks()
    working(machine, 15, 20)
    (host,) = await scene.looks(10)
    assert host.busy == 0.75


async def test_the_first_look_and_one_long_after_the_last_go_by_the_load() -> None:
    machine = a_machine()
    scene = Scene(machine)
    assert [host.busy for host in await scene.looks()] == [0.5]
    working(machine, 4000, 4000)
    assert [host.busy for host in await scene.looks(2000)] == [0.5]


async def test_looks_in_quick_succession_do_not_disturb_each_other() -> None:
    machine = a_machine()
    scene = Scene(machine)
    await scene.looks()
    for _ in range(20):
        working(machine, 0.5, 1)
        hosts = await scene.looks(0.5)
    assert [host.busy for host in hosts] == [0.5]


async def test_a_host_that_does_not_answer_is_told_and_the_others_are_looked_at() -> None:
    silent, well = a_machine("away"), a_machine("desk")
    silent.silent = True
    scene = Scene(silent, well)
    snapshot = await scene.monitor.snapshot(300)
    assert [host.load.host for host in snapshot.hosts] == ["desk"]
    assert [finding.code for finding in judge(snapshot)] == ["host-silent"]


async def test_instances_are_counted_by_status_and_the_living_by_host() -> None:
    scene = Scene(a_machine("desk"), a_machine("rack"))
    for number, host in ((1, "desk"), (2, "rack"), (3, "rack")):
        await add_member(scene.team, number, host=host)
    ended = await add_member(scene.team, 4, host="desk")
    ended.snapshot = replace(ended.snapshot, status=Status.STOPPED)
    snapshot = await scene.monitor.snapshot(300)
    assert snapshot.statuses == {"ready": 3, "stopped": 1}
    assert (snapshot.alive, {host.load.host: host.instances for host in snapshot.hosts}) == (3, {"desk": 1, "rack": 2})


async def test_who_waits_or_cannot_go_on_is_seen_with_how_long_and_why() -> None:
    scene = Scene(a_machine())
    asks, limited, troubled, starts = [await add_member(scene.team, number) for number in range(1, 5)]
    permission = PendingPermission(request_id="p", tool="Bash", tool_input={})
    asks.snapshot = InstanceSnapshot(status=Status.WAITING_PERMISSION, since=940.0, permission=permission)
    limited.snapshot = InstanceSnapshot(status=Status.RATE_LIMITED, since=990.0, reason="the last turn failed: 429")
    troubled.snapshot = InstanceSnapshot(status=Status.READY, since=999.0, reason="the last turn failed: API error")
    starts.record = replace(starts.record, stage=InstanceStage.STARTING)
    starts.snapshot = InstanceSnapshot(status=Status.STARTING, reason="it asks whether the directory is trusted")
    snapshot = await scene.monitor.snapshot(300)
    assert snapshot.asking == (StalledItem(instance_id="spec_0_0_1", for_s=60.0, why="Bash"),)
    assert [one.instance_id for one in snapshot.limited] == ["spec_0_0_2"]
    assert snapshot.troubled == (
        StalledItem(instance_id="spec_0_0_3", for_s=1.0, why="the last turn failed: API error"),
    )


async def test_messages_are_seen_as_held_or_queued_but_not_those_of_who_does_not_live() -> None:
    scene = Scene(a_machine())
    living, stopped = [await add_member(scene.team, number) for number in (1, 2)]
    outbox = scene.team.outbox
    for member in (living, stopped):
        checked = outbox.check([outgoing("x", member.record.instance_id)] * 2, "lead", 400.0)
        messages = [message for message in checked if isinstance(message, Message)]
        await outbox.accept(messages)
        await outbox.take_receipts([receipt(messages[0], MessageStatus.BLOCKED, "a dialog is up")])
    stopped.snapshot = replace(stopped.snapshot, status=Status.STOPPED)
    snapshot = await scene.monitor.snapshot(300)
    assert snapshot.held == (StalledItem(instance_id="spec_0_0_1", for_s=600.0, why="a dialog is up"),)
    assert snapshot.queued == (StalledItem(instance_id="spec_0_0_1", for_s=600.0),)
    assert snapshot.pending == 4
