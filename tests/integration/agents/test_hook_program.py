"""The hook as a process of its own, as an agent runs it: whatever goes wrong, it ends with 0 and prints no noise."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from actors.agents import hook
from actors.agents.base import AgentEvent
from actors.agents.claude_records import read_event
from actors.agents.permissions import answer, release
from actors.agents.spool import SPOOL_NAME, TELL_NAME

REQUEST = b'{"session_id":"s","hook_event_name":"PermissionRequest","tool_name":"Bash","tool_input":{"command":"ls"}}'
STOP = b'{"session_id":"s","hook_event_name":"Stop","last_assistant_message":"done"}'


def command(directory: Path, event: str) -> list[str]:
    words = (sys.executable, "-I", "-S", str(Path(hook.__file__)), str(directory), event)
    return ["/bin/sh", "-c", f"exec {shlex.join(words)}"]


def run(directory: Path, event: str, payload: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(directory, event), input=payload, capture_output=True, timeout=20, check=False)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def recorded(directory: Path) -> AgentEvent:
    """The event in the spool, once it is there."""
    spool = directory / SPOOL_NAME
    until(lambda: spool.exists() and spool.stat().st_size)
    event = read_event(spool.read_bytes().strip())
    assert event
    return event


@pytest.fixture(autouse=True)
def _outside_of_claude_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLAUDE_CODE_SESSION_ID", raising=False)


class Asking:
    """A hook that waits for the answer to a permission request."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            command(directory, "PermissionRequest"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdin
        self.process.stdin.write(REQUEST)
        self.process.stdin.close()
        self.request_id = ""

    def ask(self) -> None:
        self.request_id = recorded(self.directory).request_id

    def end(self) -> bytes:
        assert self.process.stdout
        printed = self.process.stdout.read()
        assert self.process.wait(10) == 0
        assert list(self.directory.glob("permission-*")) == []
        return printed


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    asking = Asking(tmp_path)
    try:
        asking.ask()
        yield asking
    finally:
        asking.process.kill()
        asking.process.wait()
        assert asking.process.stdout
        asking.process.stdout.close()


def test_an_event_is_recorded_and_nothing_is_printed(tmp_path: Path) -> None:
    ended = run(tmp_path, "Stop", STOP)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert recorded(tmp_path).text == "done"


def test_many_hooks_at_once_tear_no_line(tmp_path: Path) -> None:
    payload = STOP.replace(b"done", b"x" * 20_000)
    running = [
        subprocess.Popen(command(tmp_path, "Stop"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(20)
    ]
    for process in running:
        process.communicate(payload, 20)

    lines = [line for line in (tmp_path / SPOOL_NAME).read_bytes().split(b"\n") if line]
    assert [json.loads(line)["last_assistant_message"] for line in lines] == ["x" * 20_000] * 20


GONE, FULL = "a directory that is gone", "a full disk"


@pytest.mark.parametrize("event", ["Stop", "PermissionRequest"])
@pytest.mark.parametrize("trouble", [GONE, FULL, b"", b"junk", b"\xff{", b"{"])
def test_no_trouble_of_a_hook_is_one_of_the_agent(tmp_path: Path, event: str, trouble: str | bytes) -> None:
    directory = tmp_path / ("gone" if trouble == GONE else "")
    if trouble == FULL:
        (tmp_path / SPOOL_NAME).symlink_to("/dev/full")
    ended = run(directory, event, trouble if isinstance(trouble, bytes) else REQUEST)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ([SPOOL_NAME] if trouble == FULL else [])


def test_missing_arguments_are_no_trouble_for_the_agent() -> None:
    bare = [sys.executable, "-I", "-S", str(Path(hook.__file__))]
    ended = subprocess.run(bare, input=STOP, capture_output=True, timeout=20, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.parametrize("words", ['{"a": "日本"}', "x" * 500_000], ids=["short", "longer than a pipe holds"])
def test_the_answer_to_a_permission_request_is_printed_whole(asking: Asking, words: str) -> None:
    assert answer(asking.directory, asking.request_id, words)
    assert asking.end() == f"{words}\n".encode()


def test_a_released_request_prints_nothing(asking: Asking) -> None:
    assert release(asking.directory, asking.request_id)
    assert asking.end() == b""
    assert not release(asking.directory, asking.request_id)


def test_a_waiting_hook_hardly_runs(asking: Asking) -> None:
    process = psutil.Process(asking.process.pid)
    until(lambda: process.status() == psutil.STATUS_SLEEPING)
    before = process.num_ctx_switches().voluntary
    time.sleep(1.5)

    assert process.num_ctx_switches().voluntary - before <= 3


def test_a_hook_whose_request_was_removed_ends(asking: Asking) -> None:
    next(asking.directory.glob("permission-*")).unlink()
    assert asking.process.wait(10) == 0


def test_a_hook_whose_agent_died_ends_and_leaves_nothing(tmp_path: Path) -> None:
    words = shlex.join((sys.executable, "-I", "-S", str(Path(hook.__file__)), str(tmp_path), "PermissionRequest"))
    (tmp_path / "event").write_bytes(REQUEST)
    agent = subprocess.Popen(["/bin/sh", "-c", f"{words} < {tmp_path}/event & wait"], stdout=subprocess.DEVNULL)
    until(lambda: list(tmp_path.glob("permission-*")))
    until((tmp_path / SPOOL_NAME).exists)
    (waiting,) = psutil.Process(agent.pid).children()
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()

    until(lambda: not waiting.is_running() or waiting.status() == psutil.STATUS_ZOMBIE)
    assert list(tmp_path.glob("permission-*")) == []


@pytest.fixture
def wrapped(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A hook of the session S that waits, in a wrapper as CLAUDE_CODE_SHELL_PREFIX names one; this is its agent."""
    prefix = tmp_path / "prefix.sh"
    prefix.write_text('#!/bin/sh\n/bin/sh -c "$1"\nexit $?\n')
    prefix.chmod(0o755)
    program = shlex.join((str(prefix), command(tmp_path, "PermissionRequest")[2]))
    environment = {**os.environ, "CLAUDE_CODE_SESSION_ID": "S"}
    (tmp_path / "event").write_bytes(REQUEST)
    with (tmp_path / "event").open("rb") as event:
        wrapper = subprocess.Popen(["/bin/sh", "-c", f"{program}\n:"], stdin=event, env=environment)
    try:
        until(lambda: list(tmp_path.glob("permission-*")))
        yield wrapper
    finally:
        wrapper.kill()
        wrapper.wait()


def test_a_hook_in_a_wrapper_tells_which_process_its_agent_is(wrapped: subprocess.Popen[bytes], tmp_path: Path) -> None:
    event = recorded(tmp_path)
    assert event.agent_pid == os.getpid()
    assert wrapped.poll() is None
    assert release(tmp_path, event.request_id)
    assert wrapped.wait(10) == 0


def test_a_hook_in_a_wrapper_that_the_agent_ends_ends_too(wrapped: subprocess.Popen[bytes], tmp_path: Path) -> None:
    wrapped.kill()
    wrapped.wait()
    until(lambda: not list(tmp_path.glob("permission-*")))


def test_a_prompt_of_a_spare_that_was_given_away_prints_who_it_is_once(tmp_path: Path) -> None:
    prompt = b'{"session_id":"s","hook_event_name":"UserPromptSubmit","prompt":"hello"}'
    told = b'{"hookSpecificOutput":{"hookEventName":"UserPromptSubmit","additionalContext":"you are spec_1"}}\n'
    (tmp_path / TELL_NAME).write_bytes(told)
    assert [run(tmp_path, "UserPromptSubmit", prompt).stdout for _ in range(2)] == [told, b""]
    assert run(tmp_path, "Stop", STOP).stdout == b""
