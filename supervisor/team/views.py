"""Shows instances, messages and conversations as the results that callers get; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict

from actors.agents.base import ConversationItem, Dialog, EntryKind
from actors.instance.inbox import messages_in
from actors.instance.reports import InstanceSnapshot
from actors.instance.state import PendingPermission
from actors.instance.transcript import TranscriptPage
from actors.messages import Receipt
from actors.status import Status
from supervisor.api import requests
from supervisor.api.results import (
    ConversationEntry,
    DialogInfo,
    ErrorInfo,
    InstanceDescription,
    InstanceInfo,
    LimitsInfo,
    ListResult,
    Permission,
    ReadResult,
    SendResult,
    SpawnResult,
    SubmittedReceipt,
    Tokens,
    iso,
)
from supervisor.messaging.send import SendOutcome
from supervisor.team.registry import COMING_BACK, InstanceRecord, InstanceStage, Limits, Member


def instance_info(
    member: Member, *, followed: bool, needs_attention: bool, pending: int = 0, held: int = 0, why_held: str = ""
) -> InstanceInfo:
    """``followed``: its actor reports to this supervisor. ``needs_attention``: by ``Team.needs_attention``.
    ``pending``: how many messages are on their way to it, ``held``: how many of them are held back, ``why_held``: why
    the first of these is."""
    record, snapshot = member.record, member.snapshot
    workspace = record.workspace
    unknown = COMING_BACK if record.stage is InstanceStage.RUNNING and not followed else ""
    why = "; ".join(filter(None, (snapshot.reason, member.hold, "" if member.alive else undelivered(pending))))
    return InstanceInfo(
        instance_id=record.instance_id,
        name=record.name,
        role=record.role,
        parent_id=record.parent_id,
        agent=record.agent,
        status=member.status,
        since=iso(snapshot.since),
        reason=why or why_held or member.silence or unknown or None,
        permission=permission(snapshot.permission),
        dialog=dialog(snapshot.dialog),
        needs_attention=needs_attention,
        queued_messages=pending,
        held_messages=held,
        unread=snapshot.unread,
        session_name=record.session_name,
        workspace_mode=workspace.mode if workspace else "isolated",
        working_directory=str(record.directory),
        branch=workspace.branch if workspace else None,
        host=record.host,
        tokens=tokens(member),
        task=snapshot.task or None,
        activity=snapshot.activity or None,
        activity_at=snapshot.activity_at or None,
        model=snapshot.model or None,
        context_tokens=snapshot.context_tokens or None,
        context_window=snapshot.context_window,
    )


def messages_in_words(number: int) -> str:
    return "a message" if number == 1 else f"{number} messages"


def undelivered(messages: int) -> str:
    """Of an instance that has ended, with so many messages on their way to it; empty for none."""
    return f"{messages_in_words(messages)} not delivered: restart it" if messages else ""


def with_status_only(listed: ListResult, ids: Collection[str]) -> ListResult:
    """The answer with no more of these than who they are and their status."""

    def shown(info: InstanceInfo) -> InstanceInfo:
        if info.instance_id not in ids:
            return info
        return InstanceInfo(instance_id=info.instance_id, name=info.name, role=info.role, status=info.status)

    return (
        listed.model_copy(
            update={
                "needs_attention": [each for each in listed.needs_attention if each not in ids],
                "instances": [shown(info) for info in listed.instances],
            }
        )
        if ids
        else listed
    )


def tokens(member: Member) -> Tokens:
    use, limit = member.tokens, member.record.limits.tokens
    return Tokens(
        input=use.input_tokens,
        output=use.output_tokens,
        cache_read=use.cache_read_tokens,
        cache_creation=use.cache_creation_tokens,
        counted=None if limit is None else member.total,
        limit=limit,
    )


def limits_info(limits: Limits) -> LimitsInfo:
    return LimitsInfo.model_validate(asdict(limits))


def description(member: Member) -> InstanceDescription:
    """How it was started, with the limits that hold now: these may have been changed since."""
    record = member.record
    asked = {name: value for name, value in record.asked.items() if name != "limits"}
    limits = requests.Limits.model_validate(asdict(record.limits))
    if limits != requests.Limits():
        asked["limits"] = limits.model_dump(mode="json", by_alias=True, exclude_none=True)
    return InstanceDescription(
        instance_id=record.instance_id,
        name=record.name,
        role=record.role,
        parent_id=record.parent_id,
        agent=record.agent,
        status=member.status,
        resumable=record.resumable,
        attended=record.attended,
        work_dir=str(record.work_dir),
        asked=asked,
    )


def dialog(shown: Dialog | None) -> DialogInfo | None:
    return DialogInfo(question=shown.question, options=list(shown.options)) if shown else None


def permission(asked: PendingPermission | None) -> Permission | None:
    if asked is None:
        return None
    return Permission(permission_id=asked.request_id, tool=asked.tool, input=dict(asked.tool_input))


def spawn_result(record: InstanceRecord, snapshot: InstanceSnapshot) -> SpawnResult:
    workspace = record.workspace
    return SpawnResult(
        instance_id=record.instance_id,
        session_name=record.session_name,
        role=record.role,
        workspace_mode=workspace.mode if workspace else "isolated",
        working_directory=str(record.directory),
        branch=workspace.branch if workspace else None,
        status=snapshot.status,
        reason=snapshot.reason or None,
        notes=list(workspace.notes) if workspace else [],
        from_pool=bool(record.spare),
    )


_BROKEN_HEADERS = "what looked like a header line of the team got a space after its bracket"


def send_result(sent: SendOutcome, receipt: Receipt | None) -> SendResult:
    """``receipt`` is None for a message of long ago."""
    if sent.error is not None:
        return SendResult(success=False, instance_id=sent.instance_id, error=ErrorInfo(**sent.error))
    return SendResult(
        success=receipt is None or receipt.status.value not in ("failed", "unconfirmed"),
        instance_id=sent.instance_id,
        message_id=sent.message_id,
        status=receipt.status if receipt else None,
        reason=(receipt.reason or None) if receipt else "accepted long ago: its receipt is not kept any more",
        removed_characters=sent.removed_characters,
        exact=receipt.exact and not (sent.removed_characters or sent.broken_headers)
        if receipt and receipt.exact is not None
        else None,
        changes=[*(receipt.changes if receipt else ()), *([_BROKEN_HEADERS] if sent.broken_headers else ())],
    )


def counts(members: Iterable[Member]) -> dict[str, int]:
    found = Counter(member.status.value for member in members)
    return {status.value: found[status.value] for status in Status if found[status.value]}


def read_result(
    instance_id: str, page: TranscriptPage, receipt: Callable[[str], Receipt | None] = lambda _: None
) -> ReadResult:
    """``receipt``: the latest one of a message; None when it is not kept."""
    return ReadResult(
        instance_id=instance_id,
        source="conversation",
        entries=[
            ConversationEntry(
                kind=shown.entry.kind.value,
                at=shown.entry.at,
                text=shown.entry.text,
                tool=shown.entry.tool or None,
                input=dict(shown.entry.tool_input) or None,
                left_out=shown.left_out or None,
                full=shown.reference or None,
                messages=_messages(instance_id, shown.entry, receipt) or None,
            )
            for shown in page.entries
        ],
        cursor=page.cursor or None,
        more=page.more,
    )


def _messages(
    instance_id: str, entry: ConversationItem, receipt: Callable[[str], Receipt | None]
) -> list[SubmittedReceipt]:
    """Those of a question. Anybody can write a line that looks like a header: the id decides."""
    if entry.kind is not EntryKind.QUESTION:
        return []
    found = [(message, receipt(message.id)) for message in messages_in(entry.text)]
    return [
        SubmittedReceipt(
            message_id=message.id,
            sender=message.sender,
            status=known.status if known else None,
            exact=known.exact if known else None,
            changes=list(known.changes) if known else [],
        )
        for message, known in found
        if known is None or known.instance_id == instance_id
    ]
