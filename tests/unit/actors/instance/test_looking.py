"""When the screen of an agent that starts is looked at, and how often what it shows is read."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.agents.base import Agent, AgentEvent, Composer, Dialog, EventKind, Screen
from actors.agents.hook import KNOCK_NAME, PERMISSION_PREFIX, SPOOL_NAME
from actors.concurrency import ChangeNotifier
from actors.instance.observer import Observer
from actors.status import Status
from actors.tmux.pane import Pane

WATCHED_S = 10.0


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

    @property
    def captured(self) -> int:
        return len(self.looks_at)

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

    async def capture(self, *, styled: bool) -> str:
        self.looks_at.append(time.monotonic() - self._began)
        await asyncio.sleep(self.took_s)
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]


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

    def status_file(self, pid: int) -> Silent:
        return Silent()


class Silent:
    """A program that writes nothing about its status."""

    def read(self) -> None:
        return None

    def transcript_of(self, session_id: str) -> str:
        return ""


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


async def test_one_that_draws_nothing_is_hardly_looked_at(directory: Path) -> None:
    pane = SlowPane(0.001, ["starts"], draws_at=[])

    await watch(directory, pane)

    assert 15 < pane.captured < 25


async def test_a_prompt_is_seen_although_nobody_told_of_it(directory: Path) -> None:
    seen = await watch(directory, SlowPane(0.001, ["starts", "starts", "starts", "prompt"], draws_at=[]))

    assert seen.status is Status.READY


async def test_an_agent_that_draws_all_the_time_is_looked_at_a_tenth_of_the_time(directory: Path) -> None:
    pane = SlowPane(0.01, ["starts"], draws_at=[number / 200 for number in range(2000)])

    await watch(directory, pane)

    assert 0.06 < pane.captured * pane.took_s / WATCHED_S < 0.11


async def test_an_agent_of_which_nothing_is_told_is_looked_at_often_while_that_is_cheap(directory: Path) -> None:
    pane = SlowPane(0.001, ["starts"])

    await watch(directory, pane)

    assert pane.captured > 150


@pytest.mark.parametrize("took_s", [0.02, 0.04])
async def test_looking_takes_a_small_part_of_the_time_only(directory: Path, took_s: float) -> None:
    pane = SlowPane(took_s, ["starts"])

    await watch(directory, pane)

    assert 0.06 < pane.captured * took_s / WATCHED_S < 0.11


async def test_an_agent_is_looked_at_each_second_however_long_that_takes(directory: Path) -> None:
    pane = SlowPane(0.5, ["starts"])

    await watch(directory, pane)

    assert pane.captured >= 6


async def test_a_screen_that_stands_still_is_read_once(directory: Path) -> None:
    seen = await watch(directory, SlowPane(0.001, ["starts", "starts", "starts more"]))

    assert seen.reader.read == ["starts", "starts more"]
    assert seen.status is Status.STARTING


async def test_the_prompt_is_seen_by_the_first_look_that_shows_it(directory: Path) -> None:
    seen = await watch(directory, SlowPane(0.001, ["starts", "prompt"]))

    assert seen.status is Status.READY


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
