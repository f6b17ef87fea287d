from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from actors.files import UNFINISHED
from actors.instance.journal import JOURNAL_NAME, BatchStage, Journal, JournalEntry
from actors.messages import Message, RecordVersionError


def message(name: str, text: str = "text") -> Message:
    return Message(id=name, instance_id="i", sender="lead", text=text, immediate=False, accepted_at=1.5)


def entry(*names: str, life: str = "%1/7/5") -> JournalEntry:
    return JournalEntry(
        life=life, paste=f"paste of {names[0]}", stage=BatchStage.TYPING, messages=tuple(map(message, names))
    )


def ids(journal: Journal) -> list[list[str]]:
    return [[message.id for message in entry.messages] for entry in journal.entries]


def test_a_successor_reads_exactly_what_was_written(tmp_path: Path) -> None:
    written = JournalEntry(
        life="%1/7/5",
        paste="p",
        stage=BatchStage.TYPING,
        messages=(message("a", "日本\n\U0001f389 " * 9), message("b")),
    )
    Journal(tmp_path).begin(written)
    assert Journal(tmp_path).entries == (written,)


def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Journal(tmp_path).begin(entry("a"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / JOURNAL_NAME).stat().st_mode) == 0o600


def test_a_message_that_is_typed_again_stands_in_its_last_entry_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(entry("a", "b", "c"))
    journal.begin(entry("a", "b"))
    assert ids(journal) == ids(Journal(tmp_path)) == [["c"], ["a", "b"]]


def test_nothing_is_left_of_it_when_all_is_at_its_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(entry("a", "b"))
    journal.forget({"a"})
    assert ids(Journal(tmp_path)) == [["b"]]
    journal.forget({"b", "unknown"})
    assert list(tmp_path.iterdir()) == []


def test_of_a_message_that_has_ended_its_name_and_the_reason_are_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(entry("a", "b"))
    journal.begin(entry("typing"))
    journal.end({"a", "unknown"}, BatchStage.DOUBTFUL, "the reason")
    found = {m.id: (e.stage, e.reason, m.text) for e in Journal(tmp_path).entries for m in e.messages}
    assert found == {
        "a": (BatchStage.DOUBTFUL, "the reason", ""),
        "b": (BatchStage.TYPING, "", "text"),
        "typing": (BatchStage.TYPING, "", "text"),
    }


def test_a_write_that_fails_changes_nothing_and_is_told_before_the_paste(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(entry("a"))
    (tmp_path / f"{JOURNAL_NAME}{UNFINISHED}").mkdir()  # nothing can be written beside it
    with pytest.raises(OSError):
        journal.begin(entry("b"))
    assert ids(journal) == ids(Journal(tmp_path)) == [["a"]]


def test_a_file_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(b"\x09later")
    with pytest.raises(RecordVersionError, match=r"typing.journal was written by another version.*move the file away"):
        Journal(tmp_path)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == b"\x09later"


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x01\xff\xff"])
def test_a_damaged_file_is_kept_aside_and_the_instance_goes_on(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(damage)
    assert Journal(tmp_path).entries == ()
    (tmp_path / JOURNAL_NAME).write_bytes(b"\x01 again")
    assert Journal(tmp_path).entries == ()
    assert (tmp_path / f"{JOURNAL_NAME}.damaged-1").read_bytes() == damage
    assert (tmp_path / f"{JOURNAL_NAME}.damaged-2").read_bytes() == b"\x01 again"
