"""What one instance has typed and what became of it: the journal on disk and the log of receipts.

The deliverer writes both. With them the successor of a killed actor knows which messages were in flight.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from actors.files import replace_file
from actors.instance.evidence import DeliveryEvidence, RecentMap
from actors.messages import Message, MessageStatus, Receipt, RecordVersionError, decode, encode

logger = logging.getLogger(__name__)

JOURNAL_NAME = "typing.journal"

ReceiptSink = Callable[[Receipt], None]
ENDED_LIMIT = 10_000
"""Messages at their end whose receipts are kept, for a supervisor that came back and offers them again."""

_AGAIN = "the agent ended before it had written this down: it is delivered again"


class ReceiptLog:
    """What became of each message of one instance. ``life`` names the agent process that is followed now.

    Every change goes through ``settle``, which updates the journal first and then tells the supervisor. So no message
    that the journal holds as being typed was ever told to be at its end, unless it was submitted, which the transcript
    shows as well. An end stays in the journal until the supervisor has taken it in: the successor of a killed actor
    tells it again.
    """

    def __init__(self, journal: Journal, life: str, receipt_sink: ReceiptSink, evidence: DeliveryEvidence) -> None:
        self._journal = journal
        self._evidence = evidence
        self._life = life
        self._emit = receipt_sink
        self._open: dict[str, Receipt] = {}
        self._ended = RecentMap[str, Receipt](ENDED_LIMIT)
        self._doubtful = RecentMap[str, Message](ENDED_LIMIT)

    def receipt(self, message_id: str) -> Receipt | None:
        return self._open.get(message_id) or self._ended.get(message_id)

    def held_because(self, message: Message) -> str:
        """Why a message is held back; empty while it is not."""
        found = self._open.get(message.id)
        return found.reason if found is not None and found.status is MessageStatus.BLOCKED else ""

    def hold(self, messages: Iterable[Message], reason: str) -> None:
        """These are held back for this reason now; without one they are held back no more."""
        status = MessageStatus.BLOCKED if reason else MessageStatus.ACCEPTED
        self.settle([message for message in messages if self.held_because(message) != reason], status, reason)

    def accept(self, message: Message) -> None:
        """The supervisor has said so already."""
        self._note((message,), MessageStatus.ACCEPTED, "")

    def tell_again(self, receipt: Receipt) -> None:
        """To who has not taken it in: the supervisor offers only what is not at its end."""
        self._emit(receipt)

    def settle(self, messages: Sequence[Message], status: MessageStatus, reason: str = "") -> None:
        ids = {message.id for message in messages}
        if stage := _ENDS.get(status):
            self._journal.end(ids, stage, reason)
        for receipt in self._note(messages, status, reason):
            self._emit(receipt)

    def acknowledged(self, receipts: Iterable[Receipt]) -> None:
        """The supervisor has taken these in, so it will never offer their messages again."""
        told = {r.message_id for r in receipts if r.final and self._ended.get(r.message_id) == r}
        self._journal.forget(told)

    def _note(self, messages: Iterable[Message], status: MessageStatus, reason: str) -> list[Receipt]:
        noted = [self._receipt(message, status, reason) for message in messages]
        for message, receipt in zip(messages, noted, strict=True):
            self._open.pop(message.id, None)
            self._ended.pop(message.id, None)
            self._doubtful.pop(message.id, None)
            (self._ended if receipt.final else self._open)[message.id] = receipt
            if status is MessageStatus.UNCONFIRMED:
                self._doubtful[message.id] = replace(message, text="")
        return noted

    def begin(self, batch: tuple[Message, ...], paste: str) -> JournalEntry:
        """To be called before the paste. Raises ``OSError``; then nothing may be pasted."""
        entry = JournalEntry(life=self._life, paste=paste, stage=BatchStage.TYPING, messages=batch)
        self._journal.begin(entry)
        return entry

    def typed_in_vain(self, batch: Iterable[Message]) -> None:
        """None of these is on its way any more: a successor gets them from the supervisor, which holds them pending."""
        self._journal.forget({message.id for message in batch})

    def settle_late_proofs(self) -> None:
        late = [message for message in self._doubtful.values() if self._evidence.has(message.id)]
        if late:
            self.settle(late, MessageStatus.SUBMITTED)

    def recall(self, *, again: bool) -> RecoveredMessages:
        """Takes over what an earlier actor has left; to be called once, before anything is offered.

        ``again``: what an earlier life of the agent has lost shall be delivered to this one, which is alive and whose
        transcript is known. Otherwise it stays where it is.
        """
        lost: list[Message] = []
        unfinished: JournalEntry | None = None
        for entry in self._journal.entries:
            ours = entry.life == self._life
            proved = [m for m in entry.messages if self._evidence.has(m.id)]
            if not ours:  # not forgotten: who was told before that it is delivered again has yet to hear of its end
                self._journal.end({message.id for message in proved}, BatchStage.SUBMITTED, "")
            self.settle(proved, MessageStatus.SUBMITTED)
            left = tuple(message for message in entry.messages if message not in proved)
            if entry.stage is not BatchStage.TYPING:
                self.settle(left, _STATUSES[entry.stage], entry.reason)
            elif not left or not (ours or again):
                continue
            elif ours:
                lost += unfinished.messages if unfinished else ()
                unfinished = replace(entry, messages=left)
            else:
                self.settle(left, MessageStatus.ACCEPTED, _AGAIN)
                lost += left
        self._note([*lost, *(unfinished.messages if unfinished else ())], MessageStatus.ACCEPTED, "")
        return RecoveredMessages(unfinished=unfinished, again=tuple(lost))

    def _receipt(self, message: Message, status: MessageStatus, reason: str) -> Receipt:
        changes = self._evidence.changes(message.id) if status is MessageStatus.SUBMITTED else None
        return Receipt(
            message_id=message.id,
            instance_id=message.instance_id,
            status=status,
            at=time.time(),
            reason=reason,
            exact=None if changes is None else not changes,
            changes=changes or (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredMessages:
    """What an earlier actor has left."""

    unfinished: JournalEntry | None
    """Its last batch, not in the transcript so far: perhaps pasted, perhaps entered."""
    again: tuple[Message, ...]
    """To be delivered before everything else, but after ``unfinished``."""


class BatchStage(StrEnum):
    TYPING = "typing"
    """On its way into the conversation, or there and not yet seen in the transcript."""
    DOUBTFUL = "doubtful"
    """Its end was ``unconfirmed``: it is not typed again, but a late proof counts."""
    FAILED = "failed"
    SUBMITTED = "submitted"
    """An earlier life of the agent has written it down: none of it is left to be done but to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One batch. ``life`` names the agent process it was typed to, ``paste`` its paste (see ``Pane.has_pasted``).

    One that is at another stage than typing is kept, without its texts, until the supervisor has taken that in.
    """

    life: str
    paste: str
    stage: BatchStage
    messages: tuple[Message, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredJournal:
    entries: tuple[JournalEntry, ...]


class Journal:
    """The batches that one instance types or has typed: one file in its directory, 0600.

    The deliverer writes it before it pastes, and clears it once the transcript shows the messages and the supervisor
    has taken in their receipts. A message stands in one entry at most; entries stand in the order in which they were
    typed. A rename replaces the file as a whole, so it is never half-written. Nothing is synced: the kernel keeps what
    a killed process has written, and a machine that goes down takes the agent with it, whose transcript then decides.
    Whether the paste itself was done stands in tmux (``Pane.has_pasted``), which notes it in one step with the paste.
    """

    def __init__(self, directory: Path) -> None:
        """Reads what is there. Raises ``RecordVersionError`` for a file of another version, which is left alone."""
        self._path = directory / JOURNAL_NAME
        self.entries = _read(self._path)

    def begin(self, entry: JournalEntry) -> None:
        """To be called before the paste. Raises ``OSError``; then nothing has changed."""
        entries = (*_without(self.entries, {message.id for message in entry.messages}), entry)
        self._write(entries)
        self.entries = entries

    def end(self, ids: Collection[str], stage: BatchStage, reason: str) -> None:
        """These have ended so, and the supervisor has yet to take that in; no-op for ids that are not here."""

        def ended(entry: JournalEntry) -> JournalEntry:
            messages = tuple(replace(message, text="") for message in entry.messages if message.id in ids)
            return replace(entry, stage=stage, reason=reason, messages=messages)

        entries = [ended(entry) for entry in self.entries if any(message.id in ids for message in entry.messages)]
        self._change((*entries, *_without(self.entries, ids)))

    def forget(self, ids: Collection[str]) -> None:
        """These are at the end of their way; no-op for ids that are not here."""
        self._change(_without(self.entries, ids))

    def _change(self, entries: tuple[JournalEntry, ...]) -> None:
        """A disk that is full must not stop what is at its end: a successor finds it out again from the agent."""
        if entries == self.entries:
            return
        self.entries = entries
        try:
            self._write(entries)
        except OSError as error:
            logger.warning("the typing journal could not be brought up to date: %s", error)

    def _write(self, entries: tuple[JournalEntry, ...]) -> None:
        if entries:
            replace_file(self._path, encode(_StoredJournal(entries=entries)))
        else:
            self._path.unlink(missing_ok=True)


def _without(entries: tuple[JournalEntry, ...], ids: Collection[str]) -> tuple[JournalEntry, ...]:
    left = (replace(e, messages=tuple(m for m in e.messages if m.id not in ids)) for e in entries)
    return tuple(entry for entry in left if entry.messages)


def _read(path: Path) -> tuple[JournalEntry, ...]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    try:
        if data:
            return decode(_StoredJournal, data, entries=_entries).entries
    except RecordVersionError as error:
        raise RecordVersionError(
            f"{path} was written by another version of Phalanx ({error}) It is left as it is, and nothing is typed to "
            "this agent. To go on with this version move the file away: what the agent's transcript shows then decides."
        ) from error
    except Exception:
        logger.exception("the typing journal cannot be read")
    # Only a machine that went down can leave it like this, and the agent went down with it.
    aside = _free_name(path)
    logger.error("the typing journal is damaged: it is kept as %s, and the transcript decides", aside)
    path.replace(aside)
    return ()


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _entries(stored: list[bytes]) -> tuple[JournalEntry, ...]:
    return tuple(decode(JournalEntry, each, stage=BatchStage, messages=_messages) for each in stored)


def _messages(stored: list[bytes]) -> tuple[Message, ...]:
    return tuple(decode(Message, each) for each in stored)


_ENDS = {MessageStatus.FAILED: BatchStage.FAILED, MessageStatus.UNCONFIRMED: BatchStage.DOUBTFUL}
_STATUSES = {stage: status for status, stage in _ENDS.items()} | {BatchStage.SUBMITTED: MessageStatus.SUBMITTED}
