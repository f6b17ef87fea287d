"""The command ``phalanx read --follow`` over a team that is not there."""

from __future__ import annotations

import json

import pytest

from actors.backoff import Backoff
from actors.errors import TeamNotRunningError, UnknownInstanceError
from mcp_entry.cli import session
from mcp_entry.cli.session import BROUGHT_DOWN, WRONG_USAGE
from mcp_entry.top import following
from supervisor.api import requests
from supervisor.api.results import ChangesResult, ConversationEntry, ReadResult, Result
from supervisor.api.verbs import ProgressCallback
from supervisor.team.file import TeamInfo
from tests.fakes.gateway import FakeClient, entry, info
from tests.fakes.terminal import Terminal


class Conversation:
    """Answers ``read`` with the entries after the cursor, at most two at once."""

    def __init__(self, *entries: ConversationEntry) -> None:
        self.entries = list(entries)
        self.asked: list[requests.ReadRequest] = []

    async def __call__(self, request: requests.ReadRequest, on_progress: ProgressCallback) -> Result:
        self.asked.append(request)
        begin = int(request.cursor or 0)
        found = self.entries[begin : begin + 2]
        end = begin + len(found)
        return ReadResult(
            instance_id="spec_1_1_1",
            source="conversation",
            entries=found,
            cursor=str(end),
            more=end < len(self.entries),
        )


class News:
    """Answers ``changes`` with these, one after the other; before the one of a number so many entries are there."""

    def __init__(self, conversation: Conversation, *steps: tuple[list[ConversationEntry], Result | Exception]) -> None:
        self._conversation = conversation
        self._steps = list(steps)

    async def __call__(self, request: requests.ChangesRequest, on_progress: ProgressCallback) -> Result:
        more, answer = self._steps.pop(0)
        self._conversation.entries += more
        if isinstance(answer, Exception):
            raise answer
        return answer


def rows(*ids: str, gone: tuple[str, ...] = (), complete: bool = False) -> ChangesResult:
    instances = [info(each) for each in ids]
    return ChangesResult(cursor="1", complete=complete, instances=instances, gone=list(gone), needs_attention=[])


def team(*steps: tuple[list[ConversationEntry], Result | Exception]) -> tuple[Terminal, Conversation]:
    conversation = Conversation(entry("What is done?", "question"))
    return Terminal(FakeClient(read=conversation, changes=News(conversation, *steps))), conversation


ALL, CHANGED, GONE = rows("spec_1_1_1", complete=True), rows("spec_1_1_1"), rows(gone=("spec_1_1_1",))


def test_what_is_there_and_then_what_is_said_is_shown_once_until_the_instance_is_gone() -> None:
    said = [entry("One."), entry("Two."), entry("Three.")]
    terminal, conversation = team(
        ([], ALL), (said, CHANGED), ([], rows("spec_1_1_2")), ([], CHANGED), ([entry("Last.")], GONE)
    )
    ended = terminal("read", "builder", "--follow")
    shown = [line for line in ended.stdout.splitlines() if line and "2026-11-01" not in line]
    assert shown == ["What is done?", "One.", "Two.", "Three.", "Last."]
    assert ended.stderr == "spec_1_1_1 was terminated.\n"
    assert ended.exit_code == 0
    assert all(each.leaves_unread for each in conversation.asked)


def test_with_json_each_entry_is_an_object_on_a_line() -> None:
    terminal, _ = team(([], ALL), ([entry("a\n\x1b[31mb")], CHANGED), ([], GONE))
    lines = terminal("read", "spec_1_1_1", "--follow", "--json").stdout.splitlines()
    documents = [json.loads(line) for line in lines]
    assert [(each["instanceId"], each["kind"], each["text"]) for each in documents] == [
        ("spec_1_1_1", "question", "What is done?"),
        ("spec_1_1_1", "answer", "a\n\x1b[31mb"),
    ]
    assert "\x1b" not in "".join(lines)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A team that is away is asked again at once."""
    monkeypatch.setattr(following, "_RETRY", Backoff(0.0, 0.0))


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The team was not brought down."""
    running = TeamInfo(team_id="t", version="1", started_at="2026-11-01T10:00:00+00:00")
    monkeypatch.setattr(session, "wanted_team", lambda home: running)


@pytest.mark.usefixtures("wanted")
def test_a_team_that_is_away_is_said_to_be_and_followed_again() -> None:
    away = TeamNotRunningError("The team restarts.")
    terminal, _ = team(([], ALL), ([entry("Meanwhile.")], away), ([], ALL), ([], rows("spec_1_1_2", complete=True)))
    ended = terminal("read", "spec_1_1_1", "--follow")
    assert ended.stderr.splitlines() == ["The team restarts.", "spec_1_1_1 was terminated."]
    assert ended.stdout.count("Meanwhile.") == 1


@pytest.mark.usefixtures("wanted")
def test_however_long_a_team_is_away_it_is_said_once_each_time() -> None:
    away = TeamNotRunningError("The team restarts.")
    terminal, _ = team(*4 * [([], away)], ([], ALL), ([], away), ([], away), ([], GONE))
    ended = terminal("read", "spec_1_1_1", "--follow")
    assert ended.stderr.splitlines() == [*2 * ["The team restarts."], "spec_1_1_1 was terminated."]


def test_a_team_that_is_brought_down_ends_it_as_it_ends_a_watch() -> None:
    terminal, _ = team(([], ALL), ([], TeamNotRunningError("No team runs.")))
    ended = terminal("read", "spec_1_1_1", "--follow")
    assert ended.exit_code == BROUGHT_DOWN
    assert ended.stderr == "The team in /nowhere/home was brought down.\n"


@pytest.mark.parametrize("other", [["--screen"], ["--cursor", "c:1"], ["--full", "e:1"]])
def test_what_does_not_go_with_it_is_refused(other: list[str]) -> None:
    ended = Terminal()("read", "spec_1_1_1", "--follow", *other)
    assert (ended.exit_code, ended.stdout) == (WRONG_USAGE, "")


def test_an_unknown_instance_is_refused() -> None:
    terminal = Terminal(FakeClient(read=UnknownInstanceError("There is no instance spec_9.")))
    assert "There is no instance spec_9." in terminal("read", "spec_9", "--follow").stderr
