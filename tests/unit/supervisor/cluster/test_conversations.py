from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.errors import WorkspaceError
from supervisor.cluster.router import TranscriptCopies

ID, TRANSCRIPT = "spec_0_0_1", "/elsewhere/talk.jsonl"
FIRST, SECOND, THIRD = "msg_00000a", "msg_00000b", "msg_00000c"


def line(*message_ids: str) -> str:
    """As an agent writes down what it was asked."""
    text = "\n\n".join(f"[phalanx {one} from lead]\ndo it" for one in message_ids)
    return json.dumps({"type": "user", "message": {"content": text}}) + "\n"


@pytest.fixture
def kept(tmp_path: Path) -> TranscriptCopies:
    return TranscriptCopies(tmp_path)


def write(kept: TranscriptCopies, text: str) -> Path:
    path = kept.path(ID, TRANSCRIPT)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_it_tells_which_messages_stand_in_whole_lines(kept: TranscriptCopies) -> None:
    write(kept, line(FIRST, "msg_ffffff") + line(SECOND) + line(THIRD)[:-4])
    assert kept.shown(ID, TRANSCRIPT, {FIRST, SECOND, THIRD}) == {FIRST, SECOND}


def test_nothing_is_shown_where_nothing_came_home(kept: TranscriptCopies) -> None:
    assert kept.shown(ID, TRANSCRIPT, {FIRST}) == set()
    write(kept, line(FIRST))
    assert kept.shown(ID, "", {FIRST}) == set()


def test_there_need_not_be_a_copy_to_go_on_by(kept: TranscriptCopies) -> None:
    kept.end_whole(ID, TRANSCRIPT)


@pytest.mark.parametrize("torn", ["", '{"half', "x" * 200_000])
@pytest.mark.parametrize("whole", ["", line(FIRST), line(FIRST) + line(SECOND)])
def test_a_half_written_line_is_taken_away_and_nothing_else(kept: TranscriptCopies, whole: str, torn: str) -> None:
    path = write(kept, whole + torn)
    kept.end_whole(ID, TRANSCRIPT)
    assert path.read_text() == whole


def test_what_is_kept_of_one_that_is_forgotten_goes(kept: TranscriptCopies) -> None:
    write(kept, line(FIRST))
    kept.forget(ID)
    assert not kept.path(ID, TRANSCRIPT).parent.exists()


def test_a_copy_that_cannot_be_read_is_told_of_in_words(kept: TranscriptCopies) -> None:
    kept.path(ID, TRANSCRIPT).mkdir(parents=True)
    for use in (lambda: kept.shown(ID, TRANSCRIPT, {FIRST}), lambda: kept.end_whole(ID, TRANSCRIPT)):
        with pytest.raises(WorkspaceError, match="cannot be used"):
            use()
