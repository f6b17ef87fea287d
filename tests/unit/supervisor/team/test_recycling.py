"""What is taken for a summary, and how often it is asked for unasked."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from actors.agents.base import ConversationItem, EntryKind
from actors.errors import UnavailableError
from actors.instance.reports import Report
from actors.instance.transcript import PageItem
from actors.status import Status
from supervisor.team import recycling
from supervisor.team.recycling import FIRST_PAUSE_S, ContextRecycler, turn_of
from supervisor.team.team import Team
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

ASKED = "msg_a1"
QUESTION, ANSWER, NOTICE = EntryKind.QUESTION, EntryKind.ANSWER, EntryKind.NOTICE


def said(kind: EntryKind, text: str, answer_id: str = "", *, interrupted: bool = False) -> PageItem:
    return PageItem(entry=ConversationItem(kind=kind, at="", text=text, answer_id=answer_id, interrupted=interrupted))


BEFORE = [said(QUESTION, "[phalanx msg_b2 from lead]\nthe task"), said(ANSWER, "done", "r1")]
ASK = said(QUESTION, f"[phalanx {ASKED} from phalanx]\nyour summary, please")


def answers(*after: PageItem) -> list[str]:
    return [shown.entry.text for shown in turn_of([*BEFORE, *after], ASKED).answer]


def test_the_summary_is_the_last_answer_after_the_question_for_it_in_all_its_pieces() -> None:
    looks = [said(ANSWER, "I look first", "r2"), said(EntryKind.TOOL_CALL, "", "r2"), said(EntryKind.TOOL_RESULT, "")]
    whole = [said(ANSWER, "the first half", "r3"), said(ANSWER, "the second half", "r3")]
    note = said(NOTICE, "<local-command-stdout>what a person has asked for</local-command-stdout>")
    assert answers(ASK, *looks, *whole, note) == ["the first half", "the second half"]
    assert answers(ASK, said(ANSWER, "of the demo"), said(ANSWER, "which names no answers")) == [
        "which names no answers"
    ]


@pytest.mark.parametrize(
    "after",
    [
        [],
        [ASK],
        [ASK, said(ANSWER, "I look first", "r2"), said(EntryKind.TOOL_CALL, "", "r2")],
        [said(ANSWER, f"I was told of {ASKED}", "r2")],
    ],
    ids=["it was not asked", "it has not answered", "it has only begun", "it is quoted"],
)
def test_an_old_or_unfinished_answer_is_no_summary(after: list[PageItem]) -> None:
    assert turn_of([*BEFORE, *after], ASKED) == recycling.SummaryTurn()


@pytest.mark.parametrize(
    ("after", "why"),
    [
        ([said(NOTICE, "API Error: 400 prompt is too long", "r2")], "failed: API Error: 400"),
        ([said(ANSWER, "I beg", "r2"), said(NOTICE, "API Error: 529", "r3")], "failed: API Error: 529"),
        ([said(ANSWER, "I beg", "r2"), said(NOTICE, "[Request interrupted by user]", interrupted=True)], "interrupted"),
        ([said(ANSWER, "all of it", "r2"), said(QUESTION, "and one thing more")], "at its terminal"),
    ],
    ids=["failed", "failed in the midst", "interrupted", "gone on with"],
)
def test_what_came_between_is_told(after: list[PageItem], why: str) -> None:
    turn = turn_of([*BEFORE, ASK, *after], ASKED)
    assert why in turn.trouble
    assert turn.answer == ()


async def test_one_that_gives_no_summary_is_asked_again_unasked_only_after_pauses_that_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    team = Team(MemoryStore())
    member = await add_member(team)
    lifecycle: Any = None
    made = ContextRecycler(team, lifecycle, context_tokens=0, tasks=1)
    tried: list[float] = []

    def port(_: str) -> None:
        tried.append(asyncio.get_running_loop().time())
        raise UnavailableError("nobody is there")

    monkeypatch.setattr(team.links, "port", port)
    report = Report(incarnation="i", sequence=1, snapshot=READY, receipts=(), delivered=3)
    for _ in range(int(4 * FIRST_PAUSE_S)):
        made.reported(member, report)
        await asyncio.sleep(1.0)
    assert [round(b - a) for a, b in pairwise(tried)] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S]
    assert (member.status, team.outbox.pending(member.record.instance_id)) == (Status.READY, 0)
    await made.stop()
