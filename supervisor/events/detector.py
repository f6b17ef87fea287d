"""Finds what is worth an event in the changes of instances: ``became_idle``, ``needs_attention``, ``failed``.

``Team`` tells the detector of each change of a member; the cost is that member's alone. What was told last of each
instance (``Detected``) is stored in the transaction of the event that tells it. So a supervisor that died between a
change and its event tells it after its return, and nothing is told twice.

*Idle*: a turn has ended, however it was, and no message is on its way to the instance. One event for each turn; a turn
that failed needs attention instead. *Attention*: one event for each question or cause. A permission request and a
failed turn count at once. All else must last ``LASTS_S``, as in a ``wait``: a dialog is still drawn a moment after its
answer. It is told anew only when it was gone in between. *Failed*: the agent has ended by itself; told again when there
is more to say about it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actors.agents.base import Dialog
from actors.instance.reports import InstanceSnapshot, Report
from actors.instance.state import PendingPermission
from actors.status import TYPABLE, Status
from supervisor.api.requests import EventKind
from supervisor.api.results import TeamEvent
from supervisor.events.stream import EventStream
from supervisor.records import Unreadable, decode_plain, encode_plain
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.queries import LASTS_S, is_done
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)
FIRST_LOOKS_S = 15.0
"""An actor that has just taken its agent over may need so long to see again what it saw before."""
LONGEST_QUESTION = 4_000
"""Characters of the input of a tool call; ``list`` shows all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What was told last of an instance."""

    turn_at: float = 0.0
    """Of the turn after which it became idle, see ``InstanceSnapshot``."""
    cause: str = ""
    """For which it needs attention, see ``Cause``; empty when the last one is over."""
    failure: str = ""
    """Names the failure and what was said about it."""


_NOTHING = Detected()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why an instance needs attention."""

    name: str
    """The same for as long as it lasts, also for the next supervisor."""
    text: str
    at_once: bool = False
    of_turn: float = 0.0
    """The turn that has failed, if that is the cause: its end is told with it."""
    permission_id: str | None = None


class EventDetector:
    """All in the supervisor's event loop."""

    def __init__(self, team: Team, store: StateStore, unreadable: Unreadable) -> None:
        self._team = team
        self._stream: EventStream = team.events
        self._store = store
        self._unreadable = unreadable
        self._watched: dict[str, _Watched] = {}
        team.subscribe_reports(self._reported)
        team.subscribe_changes(self._look)

    async def begin(self) -> None:
        """Takes in what earlier supervisors told, and tells what they did not come to tell. Raises ``StoreError``."""
        stored = await self._store.load(keys.DETECTED_PREFIX)
        for key, told in self._unreadable.readable(stored, lambda data: Detected(**decode_plain(data))):
            instance_id = key.removeprefix(keys.DETECTED_PREFIX)
            if self._team.registry.find(instance_id) is None:
                self._stream.publish_soon(delete=[key])
            else:
                self._watched[instance_id] = _Watched(told)
        for member in self._team.registry:
            self._look(member)

    def end(self) -> None:
        for watched in self._watched.values():
            watched.stop_timer()

    def _reported(self, member: Member, report: Report) -> None:
        watched = self._watched_of(member)
        if watched.incarnation != report.incarnation:
            watched.incarnation = report.incarnation
            watched.heard_at = asyncio.get_running_loop().time()

    def _watched_of(self, member: Member) -> _Watched:
        return self._watched.setdefault(member.record.instance_id, _Watched())

    def _look(self, member: Member) -> None:
        record = member.record
        if self._team.registry.find(record.instance_id) is not member:
            self._forget(record.instance_id)
            return
        if record.is_spare:
            return
        self._look_for_failure(member)
        # Before its first report only the record is known, and nothing of what the instance does.
        if record.stage is InstanceStage.RUNNING and self._watched_of(member).incarnation:
            self._look_for_cause(member)
            self._look_for_idleness(member)

    def _forget(self, instance_id: str) -> None:
        watched = self._watched.pop(instance_id, None)
        if watched is not None:
            watched.stop_timer()
        if watched is not None and watched.told != _NOTHING:
            self._stream.publish_soon(delete=[keys.detected(instance_id)])

    def _look_for_failure(self, member: Member) -> None:
        record = member.record
        if record.stage is not InstanceStage.FAILED or not record.wanted:
            return
        told, failure = self._watched_of(member).told, _digest(f"{record.ended_at}\n{record.reason}")
        if failure != told.failure:
            self._tell(member, "failed", record.reason or "the agent has ended", replace(told, failure=failure))

    def _look_for_idleness(self, member: Member) -> None:
        told, snapshot = self._watched_of(member).told, member.snapshot
        if member.status is not Status.READY or not snapshot.turn_at or snapshot.turn_failed:
            return
        if self._team.outbox.is_withheld(member.record.instance_id):  # the turn is one of its recycling
            return
        if snapshot.turn_at != told.turn_at and is_done(self._team, member):
            self._tell(member, "became_idle", answer_in_words(member), replace(told, turn_at=snapshot.turn_at))

    def _look_for_cause(self, member: Member) -> None:
        watched, cause = self._watched_of(member), self._cause(member)
        name = cause.name if cause else ""
        if name == watched.told.cause:
            watched.stop_timer()
        elif cause is not None and cause.at_once:
            watched.stop_timer()
            self._tell_cause(member, cause)
        elif watched.timer is None or watched.lasting != name:
            watched.stop_timer()
            now = asyncio.get_running_loop().time()
            at = now + LASTS_S if cause else max(now + LASTS_S, watched.heard_at + FIRST_LOOKS_S)
            watched.lasting = name
            watched.timer = asyncio.get_running_loop().call_at(at, self._has_lasted, member)

    def _has_lasted(self, member: Member) -> None:
        """Every change in between has been looked at, so that what it is now is what it has been."""
        watched, cause = self._watched_of(member), self._cause(member)
        watched.stop_timer()
        if cause is not None:
            self._tell_cause(member, cause)
        else:
            self._note(member, replace(watched.told, cause=""))

    def _tell_cause(self, member: Member, cause: Cause) -> None:
        told = self._watched_of(member).told
        now_told = replace(told, cause=cause.name, turn_at=cause.of_turn or told.turn_at)
        self._tell(member, "needs_attention", cause.text, now_told, cause.permission_id)

    def _cause(self, member: Member) -> Cause | None:
        """One that has failed is told of as that."""
        snapshot, instance_id = member.snapshot, member.record.instance_id
        if not member.alive or member.ending or member.coming_back or member.record.stage is not InstanceStage.RUNNING:
            return None
        if snapshot.status is Status.WAITING_PERMISSION and snapshot.permission is not None:
            asked = snapshot.permission
            return Cause(
                name=f"permission {asked.request_id}",
                text=_permission_in_words(asked),
                at_once=True,
                permission_id=asked.request_id,
            )
        if snapshot.needs_attention:
            return _cause_shown(snapshot)
        if held := self._team.outbox.blocked_reason(instance_id):
            return Cause(name="messages are held", text=f"messages for it are held back: {held}")
        return Cause(name="it is silent", text=member.silence) if member.silence else None

    def _tell(
        self, member: Member, kind: EventKind, text: str, told: Detected, permission_id: str | None = None
    ) -> None:
        event = self._team.event(kind, member.record.instance_id, text, permission_id=permission_id)
        self._note(member, told, event)

    def _note(self, member: Member, told: Detected, *events: TeamEvent) -> None:
        self._watched_of(member).told = told
        self._stream.publish_soon(*events, records={keys.detected(member.record.instance_id): encode_detected(told)})


@dataclass(slots=True)
class _Watched:
    """What the detector knows of one instance."""

    told: Detected = _NOTHING
    incarnation: str = ""
    """Of the actor that has reported last to this supervisor; empty before the first report."""
    heard_at: float = 0.0
    """When that actor reported first, in seconds of the loop's clock."""
    lasting: str = ""
    """The name of the cause, or none, that must last until ``timer``."""
    timer: asyncio.TimerHandle | None = field(default=None)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def encode_detected(told: Detected) -> bytes:
    return encode_plain({"turn_at": told.turn_at, "cause": told.cause, "failure": told.failure})


def answer_in_words(member: Member) -> str:
    """The head of the last answer, with a mark of what is cut off; empty without one, as after an interrupt."""
    snapshot = member.snapshot
    return _cut(snapshot.answer, snapshot.answer_characters, f"read {member.record.instance_id} shows them")


def _cause_shown(snapshot: InstanceSnapshot) -> Cause:
    text = _dialog_in_words(snapshot.dialog) if snapshot.dialog else snapshot.reason
    # Numbers of attempts and seconds go on while the cause stays the same.
    same = re.sub(r"\d+", "#", text)
    has_failed = snapshot.turn_failed and snapshot.status in TYPABLE
    return Cause(
        name=_digest(f"{snapshot.status}\n{snapshot.turn_at}\n{same}"),
        text=text or f"it is {snapshot.status}",
        at_once=has_failed,
        of_turn=snapshot.turn_at if has_failed else 0.0,
    )


def _permission_in_words(asked: PendingPermission) -> str:
    if questions := _questions_in_words(asked.tool_input):
        return questions
    given = json.dumps(dict(asked.tool_input), ensure_ascii=False, default=str)
    by = f" by its subagent {asked.subagent_type or asked.subagent}" if asked.subagent else ""
    return f"asks to use {asked.tool}{by}: {_cut(given[:LONGEST_QUESTION], len(given), 'list shows them')}"


def _questions_in_words(tool_input: Mapping[str, Any]) -> str:
    """Of a tool call that asks a person something, as Claude Code's AskUserQuestion does; empty for any other."""
    questions = tool_input.get("questions")
    asked = [one for one in questions if isinstance(one, Mapping)] if isinstance(questions, list) else []
    return "\n".join(
        _question_in_words(str(one["question"]), [str(option["label"]) for option in _options(one)])
        for one in asked
        if one.get("question")
    )


def _options(question: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    options = question.get("options")
    return [one for one in options if isinstance(one, Mapping) and "label" in one] if isinstance(options, list) else []


def _dialog_in_words(dialog: Dialog) -> str:
    return _question_in_words(dialog.question or dialog.kind, dialog.options)


def _question_in_words(question: str, options: Sequence[str]) -> str:
    return "\n".join([question, *(f"{number}. {option}" for number, option in enumerate(options, 1))])


def _cut(head: str, characters: int, rest: str) -> str:
    left = characters - len(head)
    return f"{head}… [{left} more characters: {rest}]" if left > 0 else head


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
