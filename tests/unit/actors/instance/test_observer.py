"""What an observer goes by: when it looks at the screen, and whose events and status file count."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.agents.base import Agent, AgentEvent, Composer, Dialog, EventKind, ReportedStatus, Screen
from actors.agents.claude import ClaudeAgent
from actors.agents.spool import KNOCK_NAME, LAUNCH_MARK, PERMISSION_PREFIX, SPOOL_NAME
from actors.concurrency import ChangeNotifier
from actors.instance.observer import Observer
from actors.status import Status
from actors.tmux.pane import LastKey, Pane

WATCHED_S = 10.0


@dataclass(frozen=True, slots=True)
class StatusFile:
    own: ReportedStatus | None
    transcripts: dict[str, str]

    def read(self) -> ReportedStatus | None:
        return self.own

    def transcript_of(self, session_id: str) -> str:
        return self.transcripts.get(session_id, "")


class SlowPane:
    """Looking at it takes as long as the test says; it shows the last of ``texts`` for ever.

    ``draws_at`` are the seconds at which it tells that its agent draws; None when it cannot tell.
    """

    def __init__(self, took_s: float, texts: list[str], draws_at: Sequence[float] | None = None) -> None:
        self.took_s = took_s
        self.texts = texts
        self.draws_at = draws_at
        self.looks_at: list[float] = []
        self._began = time.monotonic()

    @contextmanager
    def drawing(self, tell: Callable[[], None]) -> Iterator[bool]:
        self._began = time.monotonic()
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(at, tell) for at in self.draws_at or ()]
        try:
            yield self.draws_at is not None
        finally:
            for timer in timers:
                timer.cancel()

    async def look(self) -> tuple[str, LastKey]:
        self.looks_at.append(time.monotonic() - self._began)
        await asyncio.sleep(self.took_s)
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0], LastKey(attached=False, at=0)


class Reader:
    def __init__(self) -> None:
        self.read: list[str] = []

    def read_screen(self, text: str) -> Screen:
        self.read.append(text)
        if text == "prompt":
            return Screen(composer=Composer.EMPTY)
        if text == "dialog":
            return Screen(composer=Composer.ABSENT, dialog=Dialog(question="May I?"))
        return Screen(composer=Composer.ABSENT, shown=text if text.startswith("odd") else "")

    def read_event(self, line: bytes) -> AgentEvent:
        kind = EventKind.PERMISSION_REQUESTED
        return AgentEvent(kind=kind, at=1.0, session_id="session", request_id=line.decode(), tool="Bash")

    def scrub_screen(self, text: str) -> str:
        return f"scrubbed: {text}"

    def status_file(self, pid: int) -> StatusFile:
        return StatusFile(None, {})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / KNOCK_NAME)
    return tmp_path


async def watch(directory: Path, pane: SlowPane, asks_at: float | None = None) -> Any:
    """An agent that lives is followed for a while; at ``asks_at`` it asks for a permission."""
    reader = Reader()
    observer = Observer(cast("Agent", reader), cast("Pane", pane), directory, "session", os.getpid(), ChangeNotifier())
    following = asyncio.create_task(observer.run())
    if asks_at is not None:
        asyncio.get_running_loop().call_later(asks_at, ask, directory)
    await asyncio.sleep(WATCHED_S)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return SimpleNamespace(reader=reader, status=observer.state.status)


async def test_an_agent_that_has_drawn_is_looked_at_at_once_and_soon_again(directory: Path) -> None:
    pane = SlowPane(0.0001, ["starts"], draws_at=[1.234])

    await watch(directory, pane)

    after = [round(at - 1.234, 3) for at in pane.looks_at if at >= 1.234]
    assert after[:4] == pytest.approx([0.0, 0.01, 0.03, 0.07], abs=0.003)


@pytest.mark.parametrize("draws_at", [None, []], ids=["nobody can tell", "nobody tells"])
async def test_a_prompt_is_seen_although_nobody_told_of_it(directory: Path, draws_at: list[float] | None) -> None:
    seen = await watch(directory, SlowPane(0.001, ["starts"] * 3 + ["prompt"], draws_at))
    assert seen.status is Status.READY


@pytest.mark.parametrize(
    ("took_s", "draws_at", "fewest", "most"),
    [
        pytest.param(0.001, [], 15, 25, id="one that draws nothing is hardly looked at"),
        pytest.param(0.001, None, 150, 200, id="of which nothing is told: often, while that is cheap"),
        pytest.param(0.01, [number / 200 for number in range(2000)], 60, 110, id="draws all the time: a tenth of it"),
        pytest.param(0.02, None, 30, 55, id="a look that takes long: a small part of the time"),
        pytest.param(0.04, None, 15, 27, id="a look that takes longer: the same part"),
        pytest.param(0.5, None, 6, 10, id="each second, however long that takes"),
    ],
)
async def test_how_often_an_agent_that_starts_is_looked_at(
    directory: Path, took_s: float, draws_at: list[float] | None, fewest: int, most: int
) -> None:
    pane = SlowPane(took_s, ["starts"], draws_at)

    await watch(directory, pane)

    assert fewest <= len(pane.looks_at) <= most


async def test_a_screen_that_stands_still_is_read_once(directory: Path) -> None:
    seen = await watch(directory, SlowPane(0.001, ["starts", "starts", "starts more"]))

    assert seen.reader.read == ["starts", "starts more"]
    assert seen.status is Status.STARTING


async def test_a_screen_that_is_not_understood_is_kept_once_without_what_was_said_and_named_as_reason(
    directory: Path,
) -> None:
    seen = await watch(directory, SlowPane(0.001, ["odd words"]))

    (kept,) = directory.glob("screen-*.txt")
    assert kept.read_text() == "scrubbed: odd words"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert seen.status is Status.STARTING


def ask(directory: Path) -> None:
    """As the hook does it."""
    request_id = "a" * 32
    fifo = directory / f"{PERMISSION_PREFIX}{request_id}"
    os.mkfifo(fifo)
    fcntl.flock(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), fcntl.LOCK_SH)
    (directory / SPOOL_NAME).write_text(f"{request_id}\n")
    (directory / KNOCK_NAME).write_bytes(b"k")


async def test_a_request_is_looked_at_soon_until_its_dialog_is_drawn_and_then_hardly(directory: Path) -> None:
    pane = SlowPane(0.001, ["prompt", "prompt", "prompt", "dialog"])

    seen = await watch(directory, pane, asks_at=3.5)

    after = [at - 3.5 for at in pane.looks_at if at >= 3.5]
    assert after[:4] == pytest.approx([0.2, 0.4, 0.6, 1.6], abs=0.05)
    assert seen.status is Status.WAITING_PERMISSION


async def test_a_request_whose_dialog_is_not_drawn_is_looked_at_each_second_after_the_first(directory: Path) -> None:
    pane = SlowPane(0.001, ["prompt"])

    seen = await watch(directory, pane, asks_at=3.5)

    after = [at - 3.5 for at in pane.looks_at if at >= 3.5]
    assert len([at for at in after if at < 1.1]) in (4, 5)
    assert len([at for at in after if 1.5 < at < 5.5]) == 4
    assert seen.status is Status.WAITING_PERMISSION


PANE_PID = os.getpid()
EARLIER_PID = 111


@dataclass(frozen=True, slots=True)
class ReportingAgent(ClaudeAgent):
    """Which processes write what of their status."""

    files: dict[int, ReportedStatus] = field(default_factory=dict)
    transcripts: dict[str, str] = field(default_factory=dict)

    def status_file(self, pid: int) -> StatusFile:  # type: ignore[override]
        return StatusFile(self.files.get(pid), self.transcripts)


def observer(directory: Path, agent: ReportingAgent) -> Observer:
    return Observer(agent, cast("Pane", None), directory, "one", PANE_PID, ChangeNotifier())


def an_agent(files: dict[int, str], transcripts: dict[str, str] | None = None) -> ReportingAgent:
    """``files``: the session that each process says it is in."""
    says = {pid: ReportedStatus(session_id=session, status="idle") for pid, session in files.items()}
    return ReportingAgent(command="claude", python="python", files=says, transcripts=transcripts or {})


def spool(directory: Path, *lines: bytes) -> None:
    with (directory / SPOOL_NAME).open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


def event(name: str, pid: int, session: str = "one", **fields: Any) -> bytes:
    return json.dumps({"hook_event_name": name, "session_id": session, "phalanx_pid": pid, **fields}).encode()


def started(pid: int, session: str = "one", source: str = "startup") -> bytes:
    return event("SessionStart", pid, session, source=source)


@pytest.mark.parametrize(
    ("lines", "pid"),
    [
        ((LAUNCH_MARK, started(EARLIER_PID), LAUNCH_MARK, started(PANE_PID, source="resume")), PANE_PID),
        ((LAUNCH_MARK, started(4711)), 4711),
    ],
    ids=["of the life that runs, not of an earlier one", "of Claude Code, where a program starts it"],
)
def test_which_status_file_is_read(directory: Path, lines: tuple[bytes, ...], pid: int) -> None:
    spool(directory, *lines)
    followed = observer(directory, an_agent({pid: "one"}))
    followed.read_spool()
    followed.witness()
    assert followed.state.own is not None


def test_a_conversation_that_no_hook_tells_of_is_read_all_the_same(directory: Path) -> None:
    transcript = directory / "one.jsonl"
    said = {"type": "user", "message": {"role": "user", "content": "[phalanx msg_1 from lead]\nhello"}}
    transcript.write_text(json.dumps({**said, "uuid": "u", "timestamp": "2026-01-01T00:00:00Z"}) + "\n")
    followed = observer(directory, an_agent({PANE_PID: "one"}, {"one": str(transcript)}))
    followed.witness()
    assert followed.conversation.path == transcript
    assert followed.evidence.has("msg_1")


def test_where_no_hook_tells_the_program_says_which_conversation_it_is_in(directory: Path) -> None:
    transcript = directory / "other.jsonl"
    transcript.touch()
    followed = observer(directory, an_agent({PANE_PID: "other"}, {"other": str(transcript)}))
    followed.witness()
    assert followed.state.session_id == "other"
    assert followed.conversation.path == transcript


def test_an_event_of_the_conversation_that_is_followed_counts_whichever_process_ran_the_hook(
    directory: Path,
) -> None:
    """As where hooks run in a wrapper that tells nothing of who started it."""
    spool(directory, LAUNCH_MARK, started(501), event("UserPromptSubmit", 502, prompt="hi"))
    followed = observer(directory, an_agent({}))
    followed.read_spool()
    assert followed.state.status is Status.BUSY


def test_a_message_counts_as_arrived_only_once_its_turn_is_known_although_nobody_has_knocked(directory: Path) -> None:
    transcript = directory / "one.jsonl"
    spool(directory, event("SessionStart", PANE_PID, transcript_path=str(transcript)))
    followed = observer(directory, an_agent({}))
    followed.read_spool()
    prompt = "[phalanx msg_1 from lead]\nhello"
    spool(directory, event("UserPromptSubmit", PANE_PID, prompt=prompt))
    said = {"type": "user", "message": {"role": "user", "content": prompt}}
    transcript.write_text(json.dumps(said) + "\n")
    followed.read_transcript()
    assert followed.evidence.has("msg_1")
    assert followed.state.status is Status.BUSY


class AtWork(ReportingAgent):
    def read_screen(self, styled: str) -> Screen:
        return Screen(composer=Composer.EMPTY, busy=True)


async def test_a_tool_that_runs_is_told_although_no_event_tells_of_it_before_it_has_ended(directory: Path) -> None:
    transcript = directory / "one.jsonl"
    told = {"transcript_path": str(transcript)}
    ours = os.getpid()
    spool(directory, event("SessionStart", ours, **told), event("UserPromptSubmit", ours, prompt="go", **told))
    pane = cast("Pane", SlowPane(0.001, ["busy"]))
    followed = Observer(AtWork(command="claude", python="python"), pane, directory, "one", ours, ChangeNotifier())
    following = asyncio.create_task(followed.run())
    await asyncio.sleep(60.0)
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "npm test"}}
    message = {"id": "m", "role": "assistant", "model": "claude-x", "content": [use]}
    transcript.write_text(json.dumps({"type": "assistant", "message": message}) + "\n")
    await asyncio.sleep(2.1)
    assert followed.conversation.activity.now(idle=False).text == "Bash: npm test"
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def test_a_claude_that_the_agent_itself_starts_is_not_followed(directory: Path) -> None:
    spool(directory, LAUNCH_MARK, started(PANE_PID), started(502, "nested"), event("UserPromptSubmit", 502, "nested"))
    followed = observer(directory, an_agent({}))
    followed.read_spool()
    assert followed.state.session_id == "one"
    assert followed.state.status is Status.STARTING
