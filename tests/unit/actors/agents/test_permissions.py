from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import Decision
from actors.agents.permissions import answer, decision_text, release, waits
from actors.errors import InvalidRequestError, UnavailableError

REQUEST = "0123456789abcdef" * 2


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[int]:
    """The reading side of the request's FIFO, as the hook opens it."""
    os.mkfifo(tmp_path / f"permission-{REQUEST}")
    reader = os.open(tmp_path / f"permission-{REQUEST}", os.O_RDONLY | os.O_NONBLOCK)
    yield reader
    os.close(reader)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(taken)


def test_an_answer_reaches_the_waiting_hook_as_one_line_and_a_release_without_a_word(tmp_path: Path, hook: int) -> None:
    assert answer(tmp_path, REQUEST, "ja\u2028")
    assert os.read(hook, 100) == "ja\u2028\n".encode()
    assert release(tmp_path, REQUEST)
    assert os.read(hook, 100) == b""


def test_nobody_waits_without_a_fifo(tmp_path: Path) -> None:
    assert (answer(tmp_path, REQUEST, "x"), release(tmp_path, REQUEST), waits(tmp_path, REQUEST)) == (False,) * 3


def test_the_fifo_of_a_hook_that_was_killed_is_removed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"permission-{REQUEST}")

    assert not answer(tmp_path, REQUEST, "x")
    assert list(tmp_path.iterdir()) == []


def test_a_hook_that_cannot_be_reached_waits_on_for_its_answer(tmp_path: Path, hook: int) -> None:
    with no_descriptor_left():
        with pytest.raises(UnavailableError, match="still waits"):
            answer(tmp_path, REQUEST, "x")
        assert waits(tmp_path, REQUEST)

    assert answer(tmp_path, REQUEST, "x")
    assert os.read(hook, 100) == b"x\n"


@pytest.mark.usefixtures("hook")
def test_a_hook_that_cannot_be_reached_is_released_by_the_loss_of_its_fifo(tmp_path: Path) -> None:
    with no_descriptor_left():
        assert release(tmp_path, REQUEST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("hook")
def test_an_answer_that_nobody_takes_in_is_not_waited_for_forever(tmp_path: Path) -> None:
    assert not answer(tmp_path, REQUEST, "x" * 1_000_000)


@pytest.mark.parametrize("request_id", ["", "x", "../" + REQUEST, REQUEST + "\n", REQUEST.upper(), REQUEST + "/a"])
def test_an_id_that_is_none_of_ours_and_an_answer_of_several_lines_are_refused(tmp_path: Path, request_id: str) -> None:
    with pytest.raises(InvalidRequestError):
        answer(tmp_path, request_id, "x")
    with pytest.raises(InvalidRequestError):
        release(tmp_path, request_id)
    with pytest.raises(InvalidRequestError):
        answer(tmp_path, REQUEST, "a\nb")


ASKED = {"questions": [{"question": "Which colour?", "options": []}, {"question": "Which size?", "options": []}]}


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [
        (Decision(allow=True, message="", tool="Bash", tool_input={"command": "ls"}), {"behavior": "allow"}),
        (
            Decision(allow=False, message="use\n日本", tool="Bash", tool_input={"command": "ls"}),
            {"behavior": "deny", "message": "use\n日本"},
        ),
        (
            Decision(
                allow=True, message="Blue", tool="AskUserQuestion", tool_input={"questions": ASKED["questions"][:1]}
            ),
            {
                "behavior": "allow",
                "updatedInput": {"questions": ASKED["questions"][:1], "answers": {"Which colour?": "Blue"}},
            },
        ),
        (
            Decision(allow=True, message="", answers={"Which size?": "Big"}, tool="AskUserQuestion", tool_input=ASKED),
            {"behavior": "allow", "updatedInput": {**ASKED, "answers": {"Which size?": "Big"}}},
        ),
        (
            Decision(allow=True, message="", tool="ExitPlanMode", tool_input={"plan": "1. Think"}),
            {"behavior": "allow", "updatedInput": {"plan": "1. Think"}},
        ),
    ],
)
def test_a_decision_says_what_the_agent_expects_on_one_line(decision: Decision, verdict: dict[str, Any]) -> None:
    text = decision_text(decision)
    assert "\n" not in text
    assert json.loads(text)["hookSpecificOutput"] == {"hookEventName": "PermissionRequest", "decision": verdict}
