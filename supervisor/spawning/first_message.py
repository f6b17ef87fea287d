"""The first message of an instance: a spawn has worked when the agent's own record shows it, and not before."""

from __future__ import annotations

import time

from actors.errors import PhalanxError, TerminalError
from actors.messages import Receipt
from actors.status import ALIVE, Status
from supervisor.ports import InstancePort
from supervisor.team.registry import Member
from supervisor.team.roll import Roll

_TROUBLE_PATIENCE_S = 2.0
_SCREEN_LINES = 15


class FirstMessage:
    def __init__(self, roll: Roll, timeout_s: float) -> None:
        """``timeout_s``: longest time from the start of the agent to the proof."""
        self._roll = roll
        self._timeout_s = timeout_s

    async def receipt(self, instance_id: str, accepted: Receipt) -> Receipt:
        """The receipt when it is final, or as it stands when the agent cannot get ready by itself."""

        def receipt() -> Receipt:
            return self._roll.mail.receipt(accepted.message_id) or accepted

        def decided() -> bool:
            return receipt().final or self._is_in_trouble(instance_id)

        def over() -> bool:
            return receipt().final or not self._is_in_trouble(instance_id)

        deadline = time.monotonic() + self._timeout_s
        while await self._roll.news.until(decided, deadline - time.monotonic()) and not receipt().final:
            # A dialog that somebody has just answered, or a screen that is drawn late, is no trouble a moment later.
            if not await self._roll.news.until(over, _TROUBLE_PATIENCE_S):
                break
        return receipt()

    def _is_in_trouble(self, instance_id: str) -> bool:
        snapshot = self._roll.registry.get(instance_id).snapshot
        starts_not = snapshot.status is Status.STARTING and bool(snapshot.reason)
        return snapshot.status not in ALIVE or snapshot.status is Status.WAITING_INPUT or starts_not

    def is_held(self, member: Member) -> bool:
        """Its agent asks something at its terminal that somebody can answer; the message waits for that."""
        return member.alive and member.snapshot.dialog is not None

    async def why_not(self, member: Member, receipt: Receipt, port: InstancePort) -> str:
        snapshot = member.snapshot
        reason = snapshot.reason or receipt.reason or f"no proof within {self._timeout_s:.0f} s"
        words = f"The agent of {member.record.instance_id} did not take its first message ({snapshot.status}): {reason}"
        if not member.alive:
            return words
        try:
            return f"{words}\nIts screen:\n{await port.screen(_SCREEN_LINES)}"
        except (PhalanxError, TerminalError):
            return words
