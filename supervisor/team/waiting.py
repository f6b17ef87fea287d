"""When a wait of a lead is over; wakes with the team's news, never polls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from actors.states import IDLE, Status
from supervisor.team.registry import Member
from supervisor.team.roll import Roll

Until = Literal["idle", "any_idle", "needs_attention"]


def is_idle(roll: Roll, member: Member) -> bool:
    """No turn is under way and no message will start one. What waits for an agent that has ended starts none."""
    return member.status in IDLE and (not member.alive or roll.mail.pending(member.record.instance_id) == 0)


def is_settled(roll: Roll, member: Member) -> bool:
    """Idle, or it can go no further without a decision."""
    waits = member.status is Status.WAITING_PERMISSION
    return waits or is_idle(roll, member) or bool(roll.mail.blocked_reason(member.record.instance_id))


async def wait_for(
    roll: Roll, members: Sequence[Member], until: Until, timeout_s: float, on_news: Callable[[], None]
) -> bool:
    """True as soon as the condition holds, False after ``timeout_s`` seconds."""
    conditions: dict[Until, Callable[[], bool]] = {
        "idle": lambda: all(is_settled(roll, member) for member in members),
        "any_idle": lambda: any(is_settled(roll, member) for member in members),
        "needs_attention": lambda: any(roll.needs_attention(member) for member in members),
    }

    def satisfied() -> bool:
        on_news()
        return conditions[until]()

    return await roll.news.until(satisfied, timeout_s)
