"""``phalanx top`` before a team that is not there: what is drawn, what each key does, and what stays where it is."""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import Any

import pytest
from textual import events
from textual.widgets import TextArea

from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError, WrongStateError
from actors.messages import MessageStatus
from actors.status import Status
from mcp_entry.top.terminal import WayInto
from supervisor.api import requests, results
from supervisor.api.requests import Role
from supervisor.api.results import InstanceInfo
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import asking, entry, info, sent
from tests.unit.mcp_entry.top.live import LiveTeam, Top, team_of, watched

PROMPT = "an agent's screen"


def asks(instance_id: str, permission_id: str, command: str = "ls") -> InstanceInfo:
    permission = results.Permission(permission_id=permission_id, tool="Bash", input={"command": command})
    return asking(instance_id).model_copy(update={"permission": permission})


def answered(each: InstanceInfo) -> InstanceInfo:
    update = {"permission": None, "needs_attention": False, "status": Status.BUSY}
    return each.model_copy(update=update)


# What is drawn


async def test_those_that_need_somebody_come_first_and_the_first_one_is_selected_with_its_exact_input() -> None:
    team = LiveTeam(*team_of(3), asks("spec_1_1_9", "4be0", "rm -rf build\nls  "))
    async with watched(team) as top:
        assert top.shown[:3] == ["NEEDS YOU 1", "spec_1_1_9", "TEAM 3"]
        assert top.selected == "spec_1_1_9"
        assert top.words("need").splitlines() == [
            "! spec_1_1_9 asks to use Bash   a allow  d deny",
            "  command:",
            "    rm -rf build",
            "    ls",
        ]
        assert "1 needs you" in top.screen[0]


async def test_the_screen_of_the_selected_one_is_shown_and_follows_it() -> None:
    team = LiveTeam(*team_of(2))
    team.screens = {"spec_1_1_1": ["first \x1b[31mscreen"], "spec_1_1_2": ["second screen"]}
    async with watched(team) as top:
        await top.until(lambda: top.words("preview") == "first screen")
        await top.presses("down")
        await top.until(lambda: top.words("preview") == "second screen")


async def test_the_conversation_is_shown_in_its_place_without_marking_it_as_read() -> None:
    async with watched(LiveTeam(*team_of(1))) as top:
        await top.presses("v")
        await top.until(lambda: top.words("preview") == "> What is done?\n● It is done.")
        assert [each.leaves_unread for each in top.asked("read")] == [True]


async def test_the_conversation_is_read_on_when_its_row_changes() -> None:
    async with watched(LiveTeam(*team_of(1))) as top:
        await top.presses("v")
        await top.until(lambda: "It is done." in top.words("preview"))
        page = results.ReadResult(
            instance_id="spec_1_1_1", source="conversation", entries=[entry("More.")], cursor="c:3"
        )
        top.team.client.replies["read"] = page
        await top.changes(info("spec_1_1_1", unread=1))
        await top.until(lambda: "● More." in top.words("preview"))
        assert top.asked("read")[-1].cursor == "c:2"


async def test_an_instance_without_a_screen_says_why_and_shows_it_when_it_has_one() -> None:
    team = LiveTeam(info(status=Status.STARTING))
    team.screens["spec_1_1_1"] = WrongStateError("It has no terminal yet.")
    async with watched(team) as top:
        await top.until(lambda: "It has no terminal yet." in top.words("preview"))
        team.screens["spec_1_1_1"] = [PROMPT]
        await top.changes(info(status=Status.READY))
        await top.until(lambda: top.words("preview") == PROMPT)


async def test_one_that_is_stopped_is_not_asked_for_its_screen_and_says_what_starts_it() -> None:
    async with watched(LiveTeam(info(status=Status.STOPPED))) as top:
        assert "`phalanx restart spec_1_1_1`" in top.words("preview")
        assert top.asked("screen") == []
        await top.changes(info(status=Status.READY))
        await top.until(lambda: top.words("preview") == PROMPT)


async def test_the_whole_of_the_smallest_terminal_is_used_and_nothing_runs_over_its_edge() -> None:
    team = LiveTeam(*team_of(30), asks("spec_1_1_99", "4be0", "x" * 500))
    async with watched(team, (80, 24)) as top:
        await top.until(lambda: PROMPT in top.words("preview") or top.words("preview"))
        assert len(top.screen) == 24
        assert all(len(row) <= 80 for row in top.screen)
        assert top.screen[-1].startswith("a allow")


async def test_a_wide_terminal_has_the_details_beside_the_list_and_more_columns() -> None:
    team = LiveTeam(*team_of(30))
    async with watched(team, (200, 50)) as top:
        await top.settles()
        assert "CTX" in top.screen[1]
        assert "spec_1_1_1 · specialist" in top.screen[1]


async def test_another_size_of_the_terminal_is_taken_over() -> None:
    async with watched(LiveTeam(*team_of(30)), (200, 50)) as top:
        await top.pilot.resize_terminal(80, 24)
        await top.settles()
        assert "CTX" not in top.screen[1]
        assert len(top.shown) < 12
        await top.presses("end")
        assert top.shown[-1] == top.selected == "spec_1_1_30"


async def test_at_80_columns_the_head_names_those_that_failed_before_all_others() -> None:
    team = LiveTeam(
        *team_of(4),
        info("spec_2", status=Status.BUSY),
        asks("spec_3", "1"),
        asks("spec_4", "2"),
        info("spec_5", status=Status.FAILED, needs_attention=True),
        info("spec_6", status=Status.RATE_LIMITED),
        info("spec_7", status=Status.STOPPED),
    )
    async with watched(team) as top:
        head = "phalanx top  3 need you  10 instances: 1 failed, 2 waiting permission, "
        assert top.screen[0].startswith(head)


async def test_what_is_told_is_told_to_its_end_at_80_columns() -> None:
    words = "The team does not know how to do this. " * 4 + "`phalanx doctor` says why."
    team = LiveTeam(*team_of(30))
    team.client.replies["send"] = UnavailableError(words)
    async with watched(team) as top:
        await top.presses("s", *"hello", "enter")
        await top.until(lambda: "shows what you wrote" in top.words("keys"))
        await top.settles()
        assert f"{words} s shows what you wrote." in " ".join(row.strip() for row in top.screen[-4:])
        await top.presses("down")
        assert top.screen[-1].startswith("a allow")
        assert top.screen[-2] == ""


async def test_a_fact_about_the_selected_one_is_left_out_whole_where_it_does_not_fit() -> None:
    each = asks("spec_1_0_2", "1").model_copy(
        update={
            "name": "builder",
            "model": "claude-opus-5-20261101",
            "context_tokens": 40_000,
            "context_window": 200_000,
        }
    )
    facts = "builder (spec_1_0_2) · specialist · waiting permission for 5m · context 20%"
    async with watched(LiveTeam(each)) as top:
        assert facts in top.screen
        await top.pilot.resize_terminal(120, 30)
        await top.until(lambda: f"{facts} · claude-opus-5-20261101" in top.screen)


def ages(top: Top) -> tuple[str, str]:
    """Of the selected one: in the list, and in the details."""
    (row,) = [row for row in top.table.shown if row.key == top.table.selected_key]
    found = re.search(r" for (\w+)", top.words("who"))
    return dict(row.cells)["FOR"].text, found[1] if found else ""


async def test_one_thing_has_one_age_in_the_list_and_in_the_details_also_when_only_one_of_them_changes() -> None:
    asked = asks("spec_1_1_9", "4be0").model_copy(update={"since": "2026-11-01T10:04:39.000+00:00"})
    team = LiveTeam(*team_of(2), asked)
    async with watched(team) as top:
        assert ages(top) == ("21s", "21s")
        team.now += datetime.timedelta(seconds=5)
        await top.changes(info("spec_1_1_1", unread=1))
        assert ages(top) == ("26s", "26s")
        team.now += datetime.timedelta(seconds=1.4)
        await top.presses("down", "up")
        assert ages(top) in {("26s", "26s"), ("27s", "27s")}


async def test_ages_go_on_while_nothing_happens() -> None:
    asked = asks("spec_1_1_9", "4be0").model_copy(update={"since": "2026-11-01T10:04:39.000+00:00"})
    team = LiveTeam(asked)
    async with watched(team) as top:
        for seconds in (22, 23):
            team.now += datetime.timedelta(seconds=1)
            await top.until(lambda seconds=seconds: ages(top) == (f"{seconds}s", f"{seconds}s"))  # type: ignore[misc]


async def test_an_empty_team_says_how_to_begin() -> None:
    async with watched(LiveTeam()) as top:
        await top.settles()
        assert "phalanx spawn" in top.words("who")


async def test_what_is_wrong_with_the_team_is_told() -> None:
    team = LiveTeam(*team_of(1))
    team.warnings = ["Its Redis is away."]
    async with watched(team) as top:
        assert top.words("trouble") == "Warning: Its Redis is away."


async def test_a_team_that_is_away_is_said_to_be_and_what_was_shown_stays_until_it_is_back() -> None:
    team = LiveTeam(*team_of(3))
    async with watched(team) as top:
        team.client.replies["changes"], reply = TeamNotRunningError("It restarts."), team.client.replies["changes"]
        await top.changes(info("spec_1_1_1"))
        await top.until(lambda: top.words("trouble") == "AWAY: It restarts.")
        assert "spec_1_1_3" in top.shown
        team.client.replies["changes"] = reply
        await top.changes(info("spec_1_1_4"))
        await top.until(lambda: "spec_1_1_4" in top.shown)
        assert top.words("trouble") == ""


async def test_it_ends_with_the_refusal_of_a_team_that_cannot_be_followed() -> None:
    team = LiveTeam()
    team.client.replies["changes"] = InvalidRequestError("There is no verb changes.")
    async with watched(team) as top:
        await top.until(lambda: top.app.failure is not None)
        assert str(top.app.failure) == "There is no verb changes."


async def test_only_the_lines_that_changed_are_drawn() -> None:
    async with watched(LiveTeam(*team_of(8), asks("spec_9", "1")), (80, 40)) as top:
        drawn: list[int] = []
        table, refresh_line = top.table, top.table.refresh_line

        def note(y: int) -> None:
            drawn.append(y)
            refresh_line(y)

        table.refresh_line = note  # type: ignore[method-assign]
        await top.changes(info("spec_1_1_4", status=Status.BUSY))
        assert [table.shown[y].instance_id for y in drawn] == ["spec_1_1_4"]


# What stays where it is


def place_of(top: Top, instance_id: str) -> int:
    return top.shown.index(instance_id)


async def test_what_one_looks_at_stays_when_the_list_of_those_that_need_somebody_grows_and_shrinks() -> None:
    team = LiveTeam(*team_of(60))
    async with watched(team) as top:
        await top.presses("end", *["up"] * 20)
        selected, shown = top.selected, top.shown
        for number in range(1, 8):
            await top.changes(asks(f"spec_1_1_{number}", f"{number}"))
            assert (top.selected, top.shown) == (selected, shown)
        for number in range(1, 8):
            await top.changes(answered(asks(f"spec_1_1_{number}", f"{number}")))
            assert (top.selected, top.shown) == (selected, shown)


async def test_what_one_looks_at_stays_when_others_above_it_are_added_and_go() -> None:
    lead = info("exec_1", role=Role.EXECUTIVE)
    team = LiveTeam(lead, *team_of(60))
    async with watched(team) as top:
        await top.presses("end", *["up"] * 20)
        selected, shown = top.selected, top.shown
        for number in range(5):
            await top.changes(info(f"spec_1_0_{number}", parent_id="exec_1"))
            assert (top.selected, top.shown) == (selected, shown)
        for number in range(5):
            await top.changes(gone=f"spec_1_0_{number}")
            assert (top.selected, top.shown) == (selected, shown)
        for number in range(1, 10):
            await top.changes(gone=f"spec_1_1_{number}")
            assert (top.selected, top.shown) == (selected, shown)


async def test_what_was_scrolled_to_without_selecting_it_stays_too() -> None:
    team = LiveTeam(*team_of(60))
    async with watched(team) as top:
        top.table.scroll_to(y=30, animate=False, force=True, immediate=True)
        await top.settles()
        shown = top.shown
        await top.changes(asks("spec_1_1_2", "1"), asks("spec_1_1_3", "2"), gone="spec_1_1_5")
        assert top.shown == shown


async def test_at_the_top_those_that_newly_need_somebody_are_seen_and_the_selected_one_stays_in_view() -> None:
    team = LiveTeam(*team_of(60))
    async with watched(team) as top:
        await top.presses("down", "down")
        for number in range(40, 43):
            await top.changes(asks(f"spec_1_1_{number}", f"{number}"))
            assert top.selected == "spec_1_1_3"
            assert top.selected in top.shown
        assert top.shown[0] == "NEEDS YOU 3"
        for number in range(43, 56):
            await top.changes(asks(f"spec_1_1_{number}", f"{number}"))
            assert top.selected in top.shown


async def test_in_the_smallest_terminal_others_are_in_view_beside_three_that_need_somebody() -> None:
    needing = [asks(f"spec_1_1_{number}", f"{number}") for number in (40, 41, 42)]
    async with watched(LiveTeam(*team_of(20), *needing), (80, 24)) as top:
        assert top.shown[:5] == ["NEEDS YOU 3", "spec_1_1_40", "spec_1_1_41", "spec_1_1_42", "TEAM 20"]
        assert top.shown[5:8] == ["spec_1_1_1", "spec_1_1_2", "spec_1_1_3"]


async def test_the_selected_one_stays_in_view_when_it_begins_to_need_somebody_and_when_it_is_answered() -> None:
    async with watched(LiveTeam(*team_of(60))) as top:
        await top.presses("end", *["up"] * 20)
        selected = top.selected
        for each in (asks(selected, "1"), answered(asks(selected, "1"))):
            await top.changes(each)
            assert top.selected == selected
            assert selected in top.shown


async def test_the_last_ones_are_shown_to_the_end_when_the_list_becomes_shorter() -> None:
    team = LiveTeam(*team_of(60))
    async with watched(team) as top:
        await top.presses("end")
        for number in range(60, 2, -1):
            await top.changes(gone=f"spec_1_1_{number}")
            assert top.selected == f"spec_1_1_{number - 1}"
            assert top.selected in top.shown
        assert top.shown == ["TEAM 2", "spec_1_1_1", "spec_1_1_2"]


async def test_one_that_was_answered_stays_selected_where_it_stands_in_the_tree() -> None:
    team = LiveTeam(*team_of(3), asks("spec_1_1_8", "1"), asks("spec_1_1_9", "2"))
    async with watched(team) as top:
        await top.changes(answered(asks("spec_1_1_8", "1")))
        assert top.selected == "spec_1_1_8"
        assert top.table.selected_key == ("team", "spec_1_1_8")


# Deciding


async def test_a_allows_what_is_shown_by_its_id() -> None:
    async with watched(LiveTeam(*team_of(3), asks("spec_1_1_9", "4be0"))) as top:
        await top.presses("a")
        await top.until(lambda: top.asked("respond"))
        (request,) = top.asked("respond")
        assert (request.instance_id, request.decision, request.permission_id) == ("spec_1_1_9", "allow", "4be0")


LONG_COMMAND = "\n".join(["echo a harmless line"] * 30 + ["rm -rf ~"])


async def test_a_long_call_is_allowed_only_after_its_end_was_in_view() -> None:
    team = LiveTeam(asks("spec_1_1_8", "1", LONG_COMMAND), asks("spec_1_1_9", "2", LONG_COMMAND))
    async with watched(team, (80, 24)) as top:
        await top.presses("a")
        assert top.asked("respond") == []
        assert top.words("keys").startswith("Tab, then End, then a")
        await top.presses("tab", "end")
        await top.until(lambda: any("rm -rf ~" in row for row in top.screen))
        await top.presses("home", "a")
        await top.until(lambda: top.asked("respond"))
        await top.presses("n", "a")
        assert [each.permission_id for each in top.asked("respond")] == ["1"]


async def test_one_that_is_shown_in_whole_by_a_larger_terminal_needs_no_scrolling() -> None:
    async with watched(LiveTeam(asks("spec_1_1_9", "2", LONG_COMMAND)), (80, 24)) as top:
        await top.pilot.resize_terminal(80, 150)
        await top.settles()
        await top.presses("a")
        await top.until(lambda: top.asked("respond"))


async def test_d_denies_it() -> None:
    async with watched(LiveTeam(asks("spec_1_1_9", "4be0"))) as top:
        await top.presses("d")
        await top.until(lambda: top.asked("respond"))
        assert [(each.decision, each.permission_id) for each in top.asked("respond")] == [("deny", "4be0")]


async def test_a_key_that_was_meant_for_what_stood_there_before_decides_nothing() -> None:
    team = LiveTeam(asks("spec_1_1_9", "4be0", "ls"))
    async with watched(team) as top:
        team.clock.step_s = 0.05  # a person who presses at once
        await top.changes(asks("spec_1_1_9", "5cf1", "rm -rf /"))
        await top.presses("a")
        assert top.asked("respond") == []
        assert "came up just now" in top.words("keys")
        team.clock.step_s = 1.0
        await top.presses("a")
        await top.until(lambda: top.asked("respond"))
        assert [each.permission_id for each in top.asked("respond")] == ["5cf1"]


async def test_what_came_up_under_the_help_is_not_decided_by_the_key_after_the_one_that_closes_it() -> None:
    team = LiveTeam(*team_of(1))
    async with watched(team) as top:
        await top.presses("question_mark")
        await top.changes(asks("spec_1_1_1", "4be0", "rm -rf /"))
        team.clock.step_s = 0.05
        await top.presses("x", "a")
        assert top.asked("respond") == []
        assert "came up just now" in top.words("keys")


async def test_a_key_that_comes_with_the_one_that_selects_another_decides_neither() -> None:
    team = LiveTeam(asks("spec_1_1_1", "1"), asks("spec_1_1_2", "2"))
    async with watched(team) as top:
        team.clock.step_s = 0.05
        await top.presses("down", "a")
        assert top.asked("respond") == []


async def test_a_second_key_while_the_answer_is_under_way_answers_nothing() -> None:
    team = LiveTeam(asks("spec_1_1_8", "1"), asks("spec_1_1_9", "2"))
    begun, done = asyncio.Event(), asyncio.Event()

    async def respond(request: requests.RespondRequest, on_progress: ProgressCallback) -> results.Result:
        begun.set()
        await done.wait()
        return results.RespondResult(instance_id="spec_1_1_8", decision="allow", status=Status.BUSY)

    team.client.replies["respond"] = respond
    async with watched(team) as top:
        await top.presses("a", "a", "d")
        await begun.wait()
        await top.settles()
        assert len(top.asked("respond")) == 1
        done.set()


async def test_an_answer_that_the_team_refuses_is_told_and_may_be_given_again() -> None:
    team = LiveTeam(asks("spec_1_1_9", "4be0"))
    team.client.replies["respond"] = WrongStateError("The request 4be0 waits no more.")
    async with watched(team) as top:
        for times in (1, 2):
            await top.presses("a")
            await top.until(lambda times=times: len(top.asked("respond")) == times)  # type: ignore[misc]
            await top.until(lambda: "waits no more" in top.words("keys"))


async def test_a_question_is_answered_by_the_number_of_its_option() -> None:
    options = [{"label": "SQLite", "description": "one file"}, {"label": "Redis", "description": "a server"}]
    question = {"question": "Which database?", "options": options}
    async with watched(LiveTeam(asking(tool="AskUserQuestion", questions=[question]))) as top:
        assert "  1. SQLite  one file" in top.words("need").splitlines()
        await top.presses("2")
        await top.until(lambda: top.asked("respond"))
        assert top.asked("respond")[0].answers == {"Which database?": "Redis"}


async def test_n_goes_to_each_that_needs_somebody_in_turn() -> None:
    needing = [asks("spec_1_1_40", "1"), asks("spec_1_1_41", "2"), asks("spec_1_1_42", "3")]
    async with watched(LiveTeam(*team_of(30), *needing)) as top:
        await top.presses("end", "n")
        seen = [top.selected]
        for _ in range(3):
            await top.presses("n")
            seen.append(top.selected)
        assert seen == ["spec_1_1_40", "spec_1_1_41", "spec_1_1_42", "spec_1_1_40"]


async def test_n_says_when_nobody_needs_somebody() -> None:
    async with watched(LiveTeam(*team_of(3))) as top:
        await top.presses("n")
        assert top.words("keys") == "Nobody needs you."


async def test_one_that_failed_says_what_starts_it_again_also_to_who_would_allow_or_deny_it() -> None:
    each = info(name="crasher", status=Status.FAILED, needs_attention=True, reason="Its agent ended with status 3.")
    async with watched(LiveTeam(each)) as top:
        assert top.words("need").splitlines() == [
            "! crasher (spec_1_1_1) has failed",
            "Its agent ended with status 3.",
            "`phalanx restart crasher` starts it again.",
        ]
        for key in "ad":
            await top.presses(key)
            assert top.words("keys") == "It asks for no permission. `phalanx restart crasher` starts it again."


async def test_who_failed_and_who_holds_a_message_says_why() -> None:
    team = LiveTeam(
        info("spec_1", status=Status.FAILED, needs_attention=True, reason="Its agent ended with status 1."),
        info("spec_2", needs_attention=True, held_messages=2, reason="a draft stands in the box: hello"),
    )
    async with watched(team) as top:
        assert top.words("need").splitlines() == [
            "! spec_1 has failed",
            "Its agent ended with status 1.",
            "`phalanx restart spec_1` starts it again.",
        ]
        await top.presses("n")
        assert top.words("need").splitlines() == [
            "! spec_2 has 2 messages held back",
            "a draft stands in the box: hello",
        ]


# Writing


async def test_a_message_is_sent_to_the_one_that_was_selected_when_it_was_begun() -> None:
    team = LiveTeam(*team_of(3))
    async with watched(team) as top:
        await top.presses("s", *"a n q")
        await top.changes(gone="spec_1_1_1")
        await top.presses("enter")
        await top.until(lambda: top.asked("send"))
        (request,) = top.asked("send")
        assert (request.instance_id, request.message) == ("spec_1_1_1", "a n q")
        await top.until(lambda: "is submitted" in top.words("keys"))


async def test_the_last_line_names_the_keys_of_the_place_that_one_writes_in_and_of_the_list_again() -> None:
    async with watched(LiveTeam(*team_of(2))) as top:
        keys = top.words("keys")
        assert keys.startswith("a allow")
        await top.presses("s")
        assert top.words("keys") == "Enter send  Ctrl-J new line  Esc leave, it is kept  Tab to the list"
        await top.presses("tab")
        assert top.words("keys") == keys  # they act on the list by now
        await top.presses("slash")
        assert top.words("keys") == "Enter keep the filter  Esc end it  Tab to the list"
        await top.presses("escape")
        assert top.words("keys") == keys


async def test_pasted_text_goes_in_whole_as_one_message() -> None:
    text = "first line\n\n  second: a d q /exit\n\tthird\n"
    async with watched(LiveTeam(*team_of(1))) as top:
        await top.presses("s")
        top.app.post_message(events.Paste(text))
        await top.settles()
        await top.presses("enter")
        await top.until(lambda: top.asked("send"))
        assert [each.message for each in top.asked("send")] == [text]


async def test_text_that_is_pasted_over_the_list_does_nothing() -> None:
    async with watched(LiveTeam(asks("spec_1", "1"))) as top:
        top.app.post_message(events.Paste("a\nd\nq\n"))
        await top.settles()
        assert top.asked("respond") == []
        assert top.app.is_running


async def test_ctrl_j_begins_a_new_line_and_escape_keeps_what_was_written_for_the_next_time() -> None:
    async with watched(LiveTeam(*team_of(2))) as top:
        await top.presses("s", *"one", "ctrl+j", *"two", "escape")
        assert top.asked("send") == []
        await top.presses("down", "s", *"other", "escape", "up", "s", "enter")
        await top.until(lambda: top.asked("send"))
        assert [each.message for each in top.asked("send")] == ["one\ntwo"]


async def test_what_is_written_goes_on_when_s_is_pressed_again_from_the_list() -> None:
    async with watched(LiveTeam(*team_of(2))) as top:
        await top.presses("s", *"one", "tab", "s", *" two", "enter")
        await top.until(lambda: top.asked("send"))
        assert [(each.instance_id, each.message) for each in top.asked("send")] == [("spec_1_1_1", "one two")]


async def test_what_was_not_sent_is_kept_when_another_one_is_written_to_or_the_filter_is_opened() -> None:
    async with watched(LiveTeam(*team_of(2))) as top:
        await top.presses("s", *"first", "tab", "down", "s", *"second", "tab", "slash", *"spec", "tab", "slash", *"_1")
        assert "filter: _1" in top.screen[0]
        await top.presses("enter", "s", "enter")
        await top.until(lambda: top.asked("send"))
        await top.presses("up", "s", "enter")
        await top.until(lambda: len(top.asked("send")) == 2)
        sent_to = [(each.instance_id, each.message) for each in top.asked("send")]
        assert sent_to == [("spec_1_1_2", "second"), ("spec_1_1_1", "first")]


async def test_keys_of_an_unmarked_paste_that_open_two_places_to_write_in_do_no_harm() -> None:
    async with watched(LiveTeam(*team_of(2))) as top:
        for key in ("s", "slash", "s", "s"):
            top.app.post_message(events.Key(key, None))
        await top.settles()
        assert top.app.is_running
        assert "To spec_1_1_1" in "\n".join(top.screen)


async def test_what_is_typed_in_the_moment_of_the_key_that_opens_a_place_to_write_in_stands_there() -> None:
    async with watched(LiveTeam(*team_of(2))) as top:
        for key, letter in (("s", "s"), ("a", "a"), ("n", "n"), ("d", "d"), ("slash", "/")):
            top.app.post_message(events.Key(key, letter))
        await top.settles()
        assert top.app.query_one("#message", TextArea).text == "and/"


@pytest.mark.parametrize(
    "fate",
    [
        UnavailableError("No answer."),
        sent(success=False, message_id=None, status=None, error=results.ErrorInfo(code="refused", message="Too long.")),
    ],
)
async def test_what_could_not_be_sent_is_not_lost(fate: Any) -> None:
    team = LiveTeam(*team_of(1))
    team.client.replies["send"] = fate
    async with watched(team) as top:
        await top.presses("s", *"hello", "enter")
        await top.until(lambda: "s shows what you wrote" in top.words("keys"))
        team.client.replies["send"] = sent(status=MessageStatus.BLOCKED, reason="a draft stands in the box")
        await top.presses("s", "enter")
        await top.until(lambda: "a draft stands in the box" in top.words("keys"))
        assert [each.message for each in top.asked("send")] == ["hello", "hello"]


# The list


async def test_the_list_follows_the_filter_letter_by_letter_and_escape_ends_it() -> None:
    team = LiveTeam(*team_of(5), info("spec_2", task="Write the parser"))
    async with watched(team) as top:
        await top.presses("slash", *"PARS")
        assert top.shown == ["TEAM 1", "spec_2"]
        assert top.selected == "spec_2"
        await top.presses("enter")
        assert "filter: PARS" in top.screen[0]
        await top.presses("escape")
        assert top.shown[0] == "TEAM 6"
        assert top.selected == "spec_2"


async def test_t_lists_by_state_and_as_a_tree_again() -> None:
    team = LiveTeam(*team_of(2), info("spec_2", status=Status.BUSY))
    async with watched(team) as top:
        await top.presses("t")
        assert top.shown == ["BUSY 1", "spec_2", "READY 2", "spec_1_1_1", "spec_1_1_2"]
        assert top.selected == "spec_1_1_1"
        await top.presses("t")
        assert top.shown == ["TEAM 3", "spec_1_1_1", "spec_1_1_2", "spec_2"]


async def test_the_help_shows_the_keys_and_the_next_key_only_closes_it() -> None:
    async with watched(LiveTeam(asks("spec_1", "1"))) as top:
        await top.presses("question_mark")
        assert any("choose this option of a question" in row for row in top.screen)
        await top.presses("a")
        assert not any("choose this option of a question" in row for row in top.screen)
        assert top.asked("respond") == []


async def test_enter_says_why_there_is_no_way_into_a_terminal() -> None:
    def no_way(each: InstanceInfo) -> WayInto:
        raise WrongStateError(f"The terminal of {each.instance_id} is not on this machine.")

    async with watched(LiveTeam(*team_of(1)), way_into=no_way) as top:
        await top.presses("enter")
        await top.until(lambda: "is not on this machine" in top.words("keys"))


async def test_q_ends_it() -> None:
    async with watched(LiveTeam(*team_of(1))) as top:
        await top.pilot.press("q")
        await top.until(lambda: not top.app.is_running)
        assert top.app.return_code == 0
