"""Whose event it is: which lead is to be told what happened to an instance. Pure; changes nothing.

It is the nearest instance above that is not gone. One that was terminated is gone, and one that has failed and is not
started again by itself. A request for a permission goes to the nearest one that answers permissions, past all that do
not; without any it is the person's alone, who sees it in ``list`` in any case. What became of a message is told to the
instance that sent it, whatever that is to the other one.

When it is told, and how that is stored, is the part of ``telling``.
"""

from __future__ import annotations

from collections.abc import Collection

from supervisor.api.results import TeamEvent
from supervisor.team.access import QUESTION_TOOL
from supervisor.team.lifecycle import GIVEN_UP
from supervisor.team.registry import InstanceStage, Member, Registry


class Addressees:
    def __init__(self, registry: Registry, *, auto_restart: bool) -> None:
        """``auto_restart``: an instance that fails is started again by itself."""
        self._registry = registry
        self._auto_restart = auto_restart

    def lead_of(self, event: TeamEvent, refused: Collection[str]) -> Member | None:
        """None: nobody whose event it is, or will be again, is an instance.

        When all that are left have failed it waits for the nearest one, which somebody may restart. ``refused``: ids of
        leads that did not take it, which are passed over.
        """
        member = self._registry.find(event.instance_id or "")
        if member is None:
            return None
        if event.kind == "message_final":
            sender = self._registry.find(event.sender or "")
            above = [sender] if sender is not None else []
        else:
            above = [*self._registry.line(member.record.parent_id)]
        leads = [
            lead
            for lead in above
            if lead.record.wanted and lead.record.instance_id not in refused and _may_answer(lead, event, member)
        ]
        return next((lead for lead in leads if not self.is_gone(lead)), leads[0] if leads else None)

    def is_gone(self, lead: Member | None) -> bool:
        """It was terminated, or has failed and is not started again by itself.

        One whose end has begun and is not stored may go on.
        """
        if lead is None or not lead.record.wanted:
            return True
        comes_back = lead.coming_back or (self._auto_restart and GIVEN_UP not in lead.record.reason)
        return lead.record.stage is InstanceStage.FAILED and not comes_back

    def is_anothers(self, event: TeamEvent, lead: str, refused: Collection[str]) -> bool:
        """``lead`` is gone, and there is another one."""
        now = self.lead_of(event, refused) if self.is_gone(self._registry.find(lead)) else None
        return now is not None and now.record.instance_id != lead


def is_question(event: TeamEvent) -> bool:
    return event.kind == "needs_attention"


def _may_answer(lead: Member, event: TeamEvent, member: Member) -> bool:
    """What is asked is told to who may answer it; see ``team.access``."""
    if not is_question(event):
        return True
    asked = member.snapshot.permission
    is_for_words = asked is not None and asked.request_id == event.permission_id and asked.tool == QUESTION_TOOL
    asks_for_rights = bool(event.permission_id and not is_for_words) or member.snapshot.dialog is not None
    return lead.record.answers_permissions or not asks_for_rights
