"""What became of each message of one instance: receipts, and what a successor must know of them.

Kept by the courier. Every change of a message's lot goes through ``settle``, which tells the supervisor and brings the
journal up to date, the journal first: so no message that the journal holds as being typed was ever told to be at its
end, unless it was submitted, which the agent's transcript shows as well. An end stays in the journal until the
supervisor has taken it in: a killed actor's successor tells it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from actors.messages import Message, MessageStatus, Receipt
from actors.messaging.journal import Entry, Journal, Stage
from actors.messaging.proofs import Proofs

ReceiptSink = Callable[[Receipt], None]

ENDED_LIMIT = 10_000
"""Messages at their end whose receipts are kept, for a supervisor that came back and offers them again."""
_ENDS = {MessageStatus.FAILED: Stage.FAILED, MessageStatus.UNCONFIRMED: Stage.DOUBTFUL}
_STATUSES = {stage: status for status, stage in _ENDS.items()} | {Stage.SUBMITTED: MessageStatus.SUBMITTED}
_AGAIN = "the agent ended before it had written this down: it is delivered again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What an earlier actor has left."""

    unfinished: Entry | None
    """Its last batch, not in the transcript so far: perhaps pasted, perhaps entered."""
    again: tuple[Message, ...]
    """To be delivered before everything else, but after ``unfinished``."""


class Ledger:
    """``life`` names the agent process that is followed now."""

    def __init__(self, journal: Journal, life: str, receipt_sink: ReceiptSink, proofs: Proofs) -> None:
        self._journal = journal
        self._proofs = proofs
        self._life = life
        self._emit = receipt_sink
        self._open: dict[str, Receipt] = {}
        self._ended: dict[str, Receipt] = {}
        self._doubtful: dict[str, Message] = {}

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
        _forget_oldest(self._ended, ENDED_LIMIT)
        _forget_oldest(self._doubtful, ENDED_LIMIT)
        return noted

    def begin(self, batch: tuple[Message, ...], paste: str) -> Entry:
        """To be called before the paste. Raises ``OSError``; then nothing may be pasted."""
        entry = Entry(life=self._life, paste=paste, stage=Stage.TYPING, messages=batch)
        self._journal.begin(entry)
        return entry

    def typed_in_vain(self, batch: Iterable[Message]) -> None:
        """None of these is on its way any more: a successor gets them from the supervisor, which holds them pending."""
        self._journal.forget({message.id for message in batch})

    def settle_late_proofs(self) -> None:
        late = [message for message in self._doubtful.values() if self._proofs.has(message.id)]
        if late:
            self.settle(late, MessageStatus.SUBMITTED)

    def recall(self, *, again: bool) -> Recalled:
        """Takes over what an earlier actor has left; to be called once, before anything is offered.

        ``again``: what an earlier life of the agent has lost shall be delivered to this one, which is alive and whose
        transcript is known. Otherwise it stays where it is.
        """
        lost: list[Message] = []
        unfinished: Entry | None = None
        for entry in self._journal.entries:
            ours = entry.life == self._life
            proved = [m for m in entry.messages if self._proofs.has(m.id)]
            if not ours:  # not forgotten: who was told before that it is delivered again has yet to hear of its end
                self._journal.end({message.id for message in proved}, Stage.SUBMITTED, "")
            self.settle(proved, MessageStatus.SUBMITTED)
            left = tuple(message for message in entry.messages if message not in proved)
            if entry.stage is not Stage.TYPING:
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
        return Recalled(unfinished=unfinished, again=tuple(lost))

    def _receipt(self, message: Message, status: MessageStatus, reason: str) -> Receipt:
        changes = self._proofs.changes(message.id) if status is MessageStatus.SUBMITTED else None
        return Receipt(
            message_id=message.id,
            instance_id=message.instance_id,
            status=status,
            at=time.time(),
            reason=reason,
            exact=None if changes is None else not changes,
            changes=changes or (),
        )


def _forget_oldest(known: dict[str, Receipt] | dict[str, Message], limit: int) -> None:
    while len(known) > limit:
        del known[next(iter(known))]
