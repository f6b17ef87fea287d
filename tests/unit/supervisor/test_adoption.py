from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.home import Home
from actors.inbox import BatchLimits
from supervisor.adoption import Adoption, InstanceRules
from supervisor.roll import Roll
from supervisor.store.memory import MemoryStore
from tests.unit.supervisor.stand_ins import StandInInstance, recruit


async def test_who_was_silent_and_is_adopted_is_silent_no_more() -> None:
    roll = Roll(MemoryStore())
    nobody: Any = None
    rules = InstanceRules(limits=BatchLimits(size=1, delay_s=0.1), comes_back=False)
    adoption = Adoption(Home(Path("/h")), rules, nobody, roll)
    member = await recruit(roll, 1)
    await adoption.on_silence(member.record.instance_id, "it does not answer")
    assert roll.needs_attention(member)
    await adoption.adopt(member.record, StandInInstance())
    assert not member.silence
    await roll.members.leave_all()
