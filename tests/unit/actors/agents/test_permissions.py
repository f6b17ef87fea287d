from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.agents.base import Decision
from actors.agents.permissions import answer, decision_text, release
from actors.errors import InvalidRequestError, UnavailableError

REQUEST = "0123456789abcdef" * 2


def waiting(directory: Path) -> int:
    """The reading side of a FIFO, as the hook opens it."""
    os.mkfifo(directory / f"permission-{REQUEST}")
    return os.open(directory / f"permission-{REQUEST}", os.O_RDONLY | os.O_NONBLOCK)


def test_an_answer_reaches_the_waiting_hook_as_one_line(tmp_path: Path) -> None:
    hook = waiting(tmp_path)

    assert answer(tmp_path, REQUEST, "ja\u2028")
    assert os.read(hook, 100) == "ja\u2028\n".encode()
    assert os.read(hook, 100) == b""
    os.close(hook)


def test_a_release_is_an_end_without_a_word(tmp_path: Path) -> None:
    hook = waiting(tmp_path)

    assert release(tmp_path, REQUEST)
    assert os.read(hook, 100) == b""
    os.close(hook)


def test_nobody_waits_without_a_fifo(tmp_path: Path) -> None:
    assert not answer(tmp_path, REQUEST, "x")
    assert not release(tmp_path, REQUEST)


def test_the_fifo_of_a_hook_that_was_killed_is_removed(tmp_path: Path) -> None:
    os.close(waiting(tmp_path))

    assert not answer(tmp_path, REQUEST, "x")
    assert list(tmp_path.iterdir()) == []


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


def test_a_hook_that_cannot_be_reached_waits_on_for_its_answer(tmp_path: Path) -> None:
    hook = waiting(tmp_path)
    with no_descriptor_left(), pytest.raises(UnavailableError, match="still waits"):
        answer(tmp_path, REQUEST, "x")

    assert answer(tmp_path, REQUEST, "x")
    assert os.read(hook, 100) == b"x\n"
    os.close(hook)


def test_a_hook_that_cannot_be_reached_is_released_by_the_loss_of_its_fifo(tmp_path: Path) -> None:
    hook = waiting(tmp_path)
    with no_descriptor_left():
        assert release(tmp_path, REQUEST)
    assert list(tmp_path.iterdir()) == []
    os.close(hook)


def test_an_answer_that_nobody_takes_in_is_not_waited_for_forever(tmp_path: Path) -> None:
    hook = waiting(tmp_path)

    assert not answer(tmp_path, REQUEST, "x" * 1_000_000)
    os.close(hook)


@pytest.mark.parametrize("request_id", ["", "x", "../" + REQUEST, REQUEST + "\n", REQUEST.upper(), REQUEST + "/a"])
def test_an_id_that_is_none_of_ours_is_refused(tmp_path: Path, request_id: str) -> None:
    with pytest.raises(InvalidRequestError):
        answer(tmp_path, request_id, "x")
    with pytest.raises(InvalidRequestError):
        release(tmp_path, request_id)


def test_an_answer_of_several_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError):
        answer(tmp_path, REQUEST, "a\nb")


def inner(text: str) -> dict[str, object]:
    output = json.loads(text)["hookSpecificOutput"]
    assert output["hookEventName"] == "PermissionRequest"
    decided: dict[str, object] = output["decision"]
    return decided


def decide(allow: bool, message: str) -> str:
    return decision_text(Decision(allow=allow, message=message, tool="Bash", tool_input={"command": "ls"}))


def test_a_decision_says_what_the_agent_expects() -> None:
    assert inner(decide(True, "")) == {"behavior": "allow"}
    assert inner(decide(False, "use\n日本")) == {"behavior": "deny", "message": "use\n日本"}
    assert "\n" not in decide(False, "a\nb")


def test_a_question_is_allowed_with_the_message_as_its_answer() -> None:
    asked = {"questions": [{"question": "Which colour?", "options": []}]}
    text = decision_text(Decision(allow=True, message="Blue", tool="AskUserQuestion", tool_input=asked))
    assert inner(text)["updatedInput"] == {**asked, "answers": {"Which colour?": "Blue"}}


def test_a_plan_is_allowed_with_its_own_input() -> None:
    text = decision_text(Decision(allow=True, message="", tool="ExitPlanMode", tool_input={"plan": "1. Think"}))
    assert inner(text) == {"behavior": "allow", "updatedInput": {"plan": "1. Think"}}
