"""The command ``phalanx watch`` over a team that is not there: what it prints, when it ends and how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError, UnknownInstanceError
from actors.status import Status
from mcp_entry.cli import session, watch
from mcp_entry.cli.session import BROUGHT_DOWN
from supervisor.api import requests
from supervisor.api.results import EventsResult, InstanceInfo, Result, TeamEvent, WaitResult
from supervisor.api.verbs import ProgressCallback
from supervisor.team.file import TeamInfo
from tests.fakes.gateway import FakeClient, Reply, info, listing
from tests.fakes.terminal import Terminal

AT = "2026-11-01T10:00:00.000+00:00"
NOW = 7
"""The number of the last event when a watch begins."""


def event(number: int, kind: requests.EventKind = "became_idle", **fields: object) -> TeamEvent:
    return TeamEvent.model_validate(
        {"kind": kind, "at": AT, "number": number, "instance_id": "spec_1_1_1", "text": "Done.", **fields}
    )


IDLE, ASKS, FAILED = event(8), event(8, "needs_attention"), event(8, "failed")


class Stream:
    """Answers ``events`` with what is given, once each, then waits."""

    def __init__(self, *answers: Sequence[TeamEvent] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[requests.EventsRequest] = []
        self.cursor = NOW
        self.missed = 0

    async def __call__(self, request: requests.EventsRequest, on_progress: ProgressCallback) -> Result:
        self.asked.append(request)
        if request.cursor is None:
            return EventsResult(events=[], cursor=str(NOW))
        if not self.answers:
            await asyncio.sleep(request.timeout_seconds)
            return EventsResult(events=[], cursor=str(self.cursor))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.cursor = max(self.cursor, *(event.number for event in answer))
        missed, self.missed = self.missed, 0
        return EventsResult(events=list(answer), cursor=str(self.cursor), missed=missed)


async def never(request: requests.WaitRequest, on_progress: ProgressCallback) -> Result:
    await asyncio.sleep(3600)
    raise AssertionError


def waited(*, reached: bool, reason: str | None = None) -> WaitResult:
    return WaitResult(reached=reached, reason=reason, instances=[], others={})


def team(stream: Stream, wait: Reply = never, *members: InstanceInfo) -> Terminal:
    """As a program runs it, without a terminal."""
    client = FakeClient(events=stream, wait=wait, list=listing(*(members or (info(),))))
    return Terminal(client, is_terminal=False)


DOWN = TeamNotRunningError("No team runs.")


def test_each_event_is_a_line_until_the_team_is_brought_down() -> None:
    asks = event(9, "needs_attention", name="builder", permission_id="4be0", text="asks to use Bash:\nls")
    settled = event(10, "message_final", message_id="msg_1", text="submitted")
    ended = team(Stream([IDLE, asks], [settled], DOWN))("watch")
    lines = ended.stdout.splitlines()
    assert [line.split(" ", 2)[0] for line in lines] == ["8", "9", "10"]
    assert [line.split(" ", 2)[2] for line in lines] == [
        "spec_1_1_1 became idle: Done.",
        "spec_1_1_1 (builder) needs attention permission 4be0: asks to use Bash: ls",
        "spec_1_1_1 message final msg_1: submitted",
    ]
    assert (ended.exit_code, "was brought down" in ended.stderr) == (BROUGHT_DOWN, True)


def test_a_person_is_told_first_what_is_watched() -> None:
    at = team(Stream(DOWN))
    at.is_terminal = True
    assert at("watch").stderr.startswith("Watching the team in /nowhere/home: a line for each event. Ctrl-C ends it.\n")
    at = team(Stream([IDLE]), waited(reached=True), info(name="parser"))
    at.is_terminal = True
    assert at("watch", "parser", "--until", "idle").stderr.startswith("Watching parser until all of them are idle: ")


def test_with_json_each_line_is_an_object_with_its_cursor() -> None:
    ended = team(Stream([IDLE], [event(9)], DOWN))("watch", "--json")
    documents = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(one["kind"], one["instanceId"], one["text"], one["cursor"]) for one in documents] == [
        ("became_idle", "spec_1_1_1", "Done.", "8"),
        ("became_idle", "spec_1_1_1", "Done.", "9"),
    ]


@pytest.mark.parametrize("as_json", [True, False])
def test_what_agents_say_controls_no_terminal_and_breaks_no_line(*, as_json: bool) -> None:
    evil = event(8, text="\x1b]0;owned\x07\r\n9 10:00:00 spec_9 failed\u202e\u2028x", name="b")
    ended = team(Stream([evil], DOWN))("watch", *(["--json"] if as_json else []))
    assert len(ended.stdout.splitlines()) == 1
    assert not {"\x1b", "\x07", "\r", "\u202e", "\u2028"} & set(ended.stdout)


def test_it_begins_after_the_cursor_that_is_given_and_says_what_is_gone() -> None:
    stream = Stream([event(5)], DOWN)
    stream.missed = 3
    ended = team(stream)("watch", "--since", "1")
    assert [request.cursor for request in stream.asked] == [None, "1", "7"]
    assert ended.stdout.splitlines()[0] == "3 events before these are not kept any more"


def test_only_the_named_instances_are_watched_by_id_or_name() -> None:
    stream = Stream(DOWN)
    team(stream, never, info("spec_1_1_1"), info("spec_1_1_2", name="builder"))("watch", "builder", "spec_1_1_1")
    assert {tuple(request.instance_ids or ()) for request in stream.asked} == {("spec_1_1_2", "spec_1_1_1")}


def test_an_instance_that_is_cleared_away_is_watched_no_more_and_the_others_go_on() -> None:
    both, one = listing(info("spec_1_1_1"), info("spec_1_1_2")), listing(info("spec_1_1_1"))
    lists = [both, one, listing()]

    async def shrinking(request: requests.ListRequest, on_progress: ProgressCallback) -> Result:
        return lists.pop(0)

    gone = UnknownInstanceError("There is no instance of this id.")
    stream = Stream(gone, [IDLE], gone)
    client = FakeClient(events=stream, wait=never, list=shrinking)
    ended = Terminal(client, is_terminal=False)("watch", "spec_1_1_1", "spec_1_1_2")
    watched = [request.instance_ids for request in stream.asked if request.cursor]
    assert watched == [["spec_1_1_1", "spec_1_1_2"], ["spec_1_1_1"], ["spec_1_1_1"]]
    assert len(ended.stdout.splitlines()) == 1
    assert ended.stderr.splitlines()[:2] == [
        "spec_1_1_2 was cleared away and is watched no more.",
        "spec_1_1_1 was cleared away and is watched no more.",
    ]
    assert (ended.exit_code, "None of the instances" in ended.stderr) == (1, True)


def test_an_unknown_name_ends_it_with_1_and_an_ambiguous_one_with_2() -> None:
    members = info("spec_1_1_1", name="builder"), info("spec_1_1_2", name="builder")
    unknown = team(Stream(), never, *members)("watch", "nobody")
    assert (unknown.exit_code, unknown.stderr.startswith("There is no instance nobody.")) == (1, True)
    ambiguous = team(Stream(), never, *members)("watch", "builder")
    assert (ambiguous.exit_code, "builder (spec_1_1_1), builder (spec_1_1_2)" in ambiguous.stderr) == (2, True)


def test_a_cursor_that_the_team_refuses_ends_it_with_2() -> None:
    ended = team(Stream(InvalidRequestError("'x' is no cursor of events.")))("watch", "--since", "x")
    assert (ended.exit_code, ended.stderr) == (2, "'x' is no cursor of events.\n")


@pytest.mark.parametrize(("until", "wanted"), [("idle", "any_idle"), ("attention", "needs_attention")])
def test_what_is_so_already_ends_it_at_once(until: str, wanted: str) -> None:
    terminal = team(Stream(), waited(reached=True))
    assert terminal("watch", "--until", until).exit_code == 0
    asked = [one for _, one in terminal.client.asked if isinstance(one, requests.WaitRequest)]  # type: ignore[union-attr]
    assert [one.until for one in asked] == [wanted]


def test_for_named_instances_all_must_be_idle() -> None:
    terminal = team(Stream([IDLE]), waited(reached=True))
    ended = terminal("watch", "--until", "idle", "spec_1_1_1")
    asked = [one for _, one in terminal.client.asked if isinstance(one, requests.WaitRequest)]  # type: ignore[union-attr]
    assert [(one.until, one.instance_ids) for one in asked] == [("idle", ["spec_1_1_1"])]
    assert (ended.exit_code, len(ended.stdout.splitlines())) == (0, 1), "the event of it is shown before the end"


def test_an_instance_that_has_failed_already_ends_it_at_once() -> None:
    assert team(Stream(), never, info(status=Status.FAILED))("watch", "--until", "failed").exit_code == 0


@pytest.mark.parametrize(("until", "told"), [("idle", IDLE), ("attention", ASKS), ("failed", FAILED)])
def test_the_event_of_it_ends_it(until: str, told: TeamEvent) -> None:
    other, wait = event(8, "message_final"), waited(reached=False) if until == "attention" else never
    ended = team(Stream([other], [told.model_copy(update={"number": 9})]), wait)("watch", "--until", until)
    assert (ended.exit_code, len(ended.stdout.splitlines())) == (0, 2)


def test_an_event_of_before_does_not_end_it() -> None:
    ended = team(Stream([event(3, "failed")], DOWN))("watch", "--until", "failed", "--since", "1")
    assert ended.exit_code == BROUGHT_DOWN


def test_before_anybody_is_there_the_first_event_ends_it() -> None:
    nobody = InvalidRequestError("There is no instance to wait for.")
    assert team(Stream([IDLE]), nobody)("watch", "--until", "idle").exit_code == 0


def test_one_that_cannot_become_idle_by_itself_ends_it_with_3_and_why() -> None:
    stuck = waited(reached=False, reason="spec_1_1_1 waits for a decision on Bash.")
    ended = team(Stream(), stuck)("watch", "--until", "idle", "spec_1_1_1")
    assert (ended.exit_code, ended.stderr) == (watch.HELD, "spec_1_1_1 waits for a decision on Bash.\n")


def test_it_goes_on_when_a_lost_team_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "wanted_team", lambda home: TeamInfo(team_id="t", version="1", started_at=AT))
    lost = UnavailableError("The connection to the team was lost during events.")
    stream = Stream([IDLE], lost, lost, [event(9, "failed")])
    ended = team(stream)("watch", "--until", "failed")
    assert (ended.exit_code, len(ended.stdout.splitlines())) == (0, 2)
    assert ended.stderr == f"{lost}\n", "it is said once"
    assert [request.cursor for request in stream.asked] == [None, "7", "8", "8", "8"]


def test_without_a_team_it_ends_with_1_and_says_what_to_do() -> None:
    ended = Terminal(TeamNotRunningError("No team runs here. Start one with `phalanx up`."))("watch")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == "No team runs here. Start one with `phalanx up`.\n"
