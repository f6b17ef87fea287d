"""What one instance is typing or has typed, on disk, so that a killed actor's successor knows what was in flight.

One file in the instance's directory, 0600, written by the courier before it pastes and cleared once the agent's
transcript shows the messages and the supervisor has taken in their receipts. It is replaced as a whole by a rename, so
it is never half-written. Nothing is forced to the disk: what a killed process has written is kept by the kernel, and a
machine that goes down takes the agent with it, whose transcript then decides. That the paste itself was done stands not
here but in tmux (``Pane.has_pasted``), which notes it in one step with the paste.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from actors.messages import Message, RecordVersionError, decode, encode

logger = logging.getLogger(__name__)

JOURNAL_NAME = "typing.journal"


class Stage(StrEnum):
    TYPING = "typing"
    """On its way into the conversation, or there and not yet seen in the transcript."""
    DOUBTFUL = "doubtful"
    """Its end was ``unconfirmed``: it is not typed again, but a late proof counts."""
    FAILED = "failed"
    SUBMITTED = "submitted"
    """An earlier life of the agent has written it down: none of it is left to be done but to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One batch. ``life`` names the agent process it was typed to, ``paste`` its paste (see ``Pane.has_pasted``).

    One that is at another stage than typing is kept, without its texts, until the supervisor has taken that in.
    """

    life: str
    paste: str
    stage: Stage
    messages: tuple[Message, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredEntry:
    life: str
    paste: str
    stage: str
    messages: list[bytes]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredJournal:
    entries: list[bytes]


class Journal:
    """A message stands in one entry at most; entries stand in the order in which they were typed."""

    def __init__(self, directory: Path) -> None:
        """Reads what is there. Raises ``RecordVersionError`` for a file of another version, which is left alone."""
        self._path = directory / JOURNAL_NAME
        self.entries = _read(self._path)

    def begin(self, entry: Entry) -> None:
        """To be called before the paste. Raises ``OSError``; then nothing has changed."""
        entries = (*_without(self.entries, {message.id for message in entry.messages}), entry)
        self._write(entries)
        self.entries = entries

    def end(self, ids: Collection[str], stage: Stage, reason: str) -> None:
        """These have ended so, and the supervisor has yet to take that in; no-op for ids that are not here."""

        def ended(entry: Entry) -> Entry:
            messages = tuple(replace(message, text="") for message in entry.messages if message.id in ids)
            return replace(entry, stage=stage, reason=reason, messages=messages)

        entries = [ended(entry) for entry in self.entries if any(message.id in ids for message in entry.messages)]
        self._change((*entries, *_without(self.entries, ids)))

    def forget(self, ids: Collection[str]) -> None:
        """These are at the end of their way; no-op for ids that are not here."""
        self._change(_without(self.entries, ids))

    def _change(self, entries: tuple[Entry, ...]) -> None:
        """A disk that is full must not stop what is at its end: a successor finds it out again from the agent."""
        if entries == self.entries:
            return
        self.entries = entries
        try:
            self._write(entries)
        except OSError as error:
            logger.warning("the typing journal could not be brought up to date: %s", error)

    def _write(self, entries: tuple[Entry, ...]) -> None:
        if not entries:
            self._path.unlink(missing_ok=True)
            return
        unfinished = self._path.with_name(f"{JOURNAL_NAME}.new")
        unfinished.unlink(missing_ok=True)
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(encode(_StoredJournal(entries=[_packed(entry) for entry in entries])))
            unfinished.replace(self._path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise


def _without(entries: tuple[Entry, ...], ids: Collection[str]) -> tuple[Entry, ...]:
    left = (replace(e, messages=tuple(m for m in e.messages if m.id not in ids)) for e in entries)
    return tuple(entry for entry in left if entry.messages)


def _read(path: Path) -> tuple[Entry, ...]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    try:
        if data:
            return tuple(_unpacked(entry) for entry in decode(_StoredJournal, data).entries)
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


def _packed(entry: Entry) -> bytes:
    return encode(
        _StoredEntry(
            life=entry.life,
            paste=entry.paste,
            stage=entry.stage.value,
            messages=[encode(message) for message in entry.messages],
            reason=entry.reason,
        )
    )


def _unpacked(data: bytes) -> Entry:
    stored = decode(_StoredEntry, data)
    return Entry(
        life=stored.life,
        paste=stored.paste,
        stage=Stage(stored.stage),
        messages=tuple(decode(Message, message) for message in stored.messages),
        reason=stored.reason,
    )
