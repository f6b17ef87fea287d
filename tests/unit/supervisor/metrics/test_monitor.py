from __future__ import annotations

from dataclasses import replace
from typing import Any

from actors.errors import UnavailableError
from actors.host.load import HostLoad
from actors.instance.reports import InstanceSnapshot
from actors.messages import Message, MessageStatus
from actors.status import PendingPermission, Status
from supervisor.metrics.health import judge
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.metrics.monitor import Monitor
from supervisor.metrics.snapshot import HostSnapshot, StalledItem
from supervisor.settings.live import LiveSettings
from supervisor.spawning.admission import FairSemaphore
from supervisor.store.guards import FencedStore
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor.metrics.looks import LOAD, tuning
from tests.unit.supervisor.stand_ins import outgoing, receipt, recruit


class Machine:
    def __init__(self, name: str = "desk") -> None:
        self.now = replace(LOAD, host=name, load_1m=1.0)
        self.silent = False

    async def load(self) -> HostLoad:
        if self.silent:
            raise UnavailableError("The host does not answer.")
        return self.now

    def works(self, busy_s: float, total_s: float) -> None:
        busy, total = self.now.cpu_busy_s + busy_s, self.now.cpu_total_s + total_s
        self.now = replace(self.now, cpu_busy_s=busy, cpu_total_s=total)


class Scene:
    def __init__(self, *machines: Any) -> None:
        self.at = 1000.0
        store = FencedStore(MemoryStore())
        self.team = Team(store, recorder=MetricsRecorder(lambda: self.at))
        self.monitor = Monitor(
            self.team,
            store,
            FairSemaphore(5),
            LiveSettings(tuning()),
            lambda: {machine.now.host: machine for machine in machines},
        )

    async def looks(self, later_s: float = 0.0) -> tuple[HostSnapshot, ...]:
        self.at += later_s
        return (await self.monitor.snapshot(300)).hosts


async def test_two_looks_tell_how_busy_a_host_was_between_them() -> None:
    machine = Machine()
    scene = Scene(machine)
    await scene.looks()
    machine.works(15, 20)
    (host,) = await scene.looks(10)
    assert host.busy == 0.75


async def test_the_first_look_and_one_long_after_the_last_go_by_the_load() -> None:
    machine = Machine()
    scene = Scene(machine)
    assert [host.busy for host in await scene.looks()] == [0.5]
    machine.works(4000, 4000)
    assert [host.busy for host in await scene.looks(2000)] == [0.5]


async def test_looks_in_quick_succession_do_not_disturb_each_other() -> None:
    machine = Machine()
    scene = Scene(machine)
    await scene.looks()
    for _ in range(20):
        machine.works(0.5, 1)
        hosts = await scene.looks(0.5)
    assert [host.busy for host in hosts] == [0.5]


async def test_a_host_that_does_not_answer_is_told_and_the_others_are_looked_at() -> None:
    silent, well = Machine("away"), Machine("desk")
    silent.silent = True
    scene = Scene(silent, well)
    snapshot = await scene.monitor.snapshot(300)
    assert [host.load.host for host in snapshot.hosts] == ["desk"]
    assert [finding.code for finding in judge(snapshot)] == ["host-silent"]


async def test_instances_are_counted_by_status_and_the_living_by_host() -> None:
    scene = Scene(Machine("desk"), Machine("rack"))
    for number, host in ((1, "desk"), (2, "rack"), (3, "rack")):
        await recruit(scene.team, number, host=host)
    ended = await recruit(scene.team, 4, host="desk")
    ended.snapshot = replace(ended.snapshot, status=Status.STOPPED)
    snapshot = await scene.monitor.snapshot(300)
    assert snapshot.statuses == {"ready": 3, "stopped": 1}
    assert (snapshot.alive, {host.load.host: host.instances for host in snapshot.hosts}) == (3, {"desk": 1, "rack": 2})


async def test_who_waits_or_cannot_go_on_is_seen_with_how_long_and_why() -> None:
    scene = Scene(Machine())
    asks, limited, troubled, starts = [await recruit(scene.team, number) for number in range(1, 5)]
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
    scene = Scene(Machine())
    living, stopped = [await recruit(scene.team, number) for number in (1, 2)]
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
