"""Which answers of a conversation count as unread, also for those who come later."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.agents.catalog import DemoAgent
from actors.instance.evidence import DeliveryEvidence
from actors.instance.transcript import MARK_NAME, Conversation, ReadMark
from tests.unit.actors.instance.test_pages import answered


def following(place: Path, transcript: Path) -> Conversation:
    """As an actor that has just been started follows it."""
    conversation = Conversation(DemoAgent("python"), ReadMark(place), DeliveryEvidence())
    conversation.open(str(transcript))
    conversation.follow()
    return conversation


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    path = tmp_path / "first.jsonl"
    path.write_bytes(answered("a") + answered("b"))
    return path


def say_more(transcript: Path, text: str) -> None:
    with transcript.open("ab") as file:
        file.write(answered(text))


def test_a_later_actor_counts_only_what_nobody_has_read(tmp_path: Path, transcript: Path) -> None:
    first = following(tmp_path, transcript)
    assert first.unread == 2
    first.read_to(first.answers)
    assert first.unread == 0
    say_more(transcript, "c")

    assert following(tmp_path, transcript).unread == 1


def test_another_conversation_in_its_place_is_unread_from_its_first_answer_on(tmp_path: Path, transcript: Path) -> None:
    conversation = following(tmp_path, transcript)
    conversation.read_to(conversation.answers)
    fresh = tmp_path / "second.jsonl"
    fresh.write_bytes(answered("x"))

    conversation.open(str(fresh))
    conversation.follow()
    assert conversation.unread == 1
    assert following(tmp_path, fresh).unread == 1
    assert following(tmp_path, transcript).unread == 0


@pytest.mark.parametrize("found", ["", "{", "[]", '{"transcript": "first.jsonl"}', '{"transcript": 1, "answers": 2}'])
def test_a_mark_that_is_damaged_only_makes_all_count_as_unread(found: str, tmp_path: Path, transcript: Path) -> None:
    (tmp_path / MARK_NAME).write_text(found)
    conversation = following(tmp_path, transcript)
    assert conversation.unread == 2
    conversation.read_to(2)
    assert following(tmp_path, transcript).unread == 0
    assert (tmp_path / MARK_NAME).stat().st_mode & 0o777 == 0o600


def test_a_mark_that_cannot_be_written_hinders_no_reading(tmp_path: Path, transcript: Path) -> None:
    conversation = following(tmp_path / "gone", transcript)
    conversation.read_to(2)
    assert conversation.unread == 0
