"""What is still known of a Claude Code when one of its witnesses is missing or tells less than usual."""

from __future__ import annotations

import asyncio
import json

import pytest

from actors.agents.base import EntryKind, EventKind, Launch, LaunchRequest
from actors.agents.claude import ClaudeAgent, settings_file
from actors.instance.responding import Reply
from actors.instance.transcript import PageQuery
from actors.status import Status
from tests.integration.agents.rig import until
from tests.integration.agents.succession import SHORT, SUBMITTED, Team, message, only_claude

pytestmark = [pytest.mark.timeout(300), only_claude]

_READING_S = 0.4
"""How long the quickest person needs to read a dialog. Newer versions take no key within 0.2 s of drawing one."""


class WithoutHooks(ClaudeAgent):
    """As where managed settings forbid ours."""

    def launch(self, request: LaunchRequest) -> Launch:
        launch = super().launch(request)
        path = settings_file(request.instance_directory)
        settings = {**json.loads(launch.files[path]), "hooks": {}}
        return Launch(argv=launch.argv, environment=launch.environment, files={path: json.dumps(settings)})


async def test_where_hooks_are_forbidden_messages_arrive_and_the_conversation_can_be_read(team: Team) -> None:
    rig = team.rig
    assert isinstance(rig.agent, ClaudeAgent)
    rig.agent = WithoutHooks(command=rig.agent.command, python=rig.agent.python)
    await team.start()
    first = await team.successor(SHORT)
    await team.told(SHORT, SUBMITTED)
    assert rig.events() == []
    await first.leave()

    later = message(9, "to the successor")
    second = await team.successor([*SHORT, later])
    await team.told([later], SUBMITTED)
    said = (await second.page(PageQuery(cursor=None, limit=50))).entries
    texts = "\n".join(shown.entry.text for shown in said if shown.entry.kind is EntryKind.QUESTION)
    assert [texts.count(each.id) for each in (*SHORT, later)] == [1, 1, 1, 1]


async def test_an_agent_whose_hooks_run_in_a_wrapper_is_heard(team: Team) -> None:
    rig = team.rig
    prefix = rig.user_file("prefix.sh", '#!/bin/bash\nbash -c "$1"\nexit $?\n')
    rig.user_file("settings.json", {"env": {"CLAUDE_CODE_SHELL_PREFIX": str(prefix)}})
    await team.start()
    asks = message(8, rig.use_tool("touch allowed"))
    instance = await team.successor([asks])
    await until(lambda: team.status is Status.WAITING_PERMISSION)
    assert {event.agent_pid for event in rig.events()} == {rig.pid}

    await instance.respond(Reply(allow=True))
    await until(lambda: team.status is Status.READY)
    assert rig.has_run("touch allowed")
    assert EventKind.TURN_ENDED in rig.kinds()


async def test_a_tool_that_failed_is_told_and_no_request_of_it_waits_any_more(team: Team) -> None:
    rig = team.rig
    await team.start()
    instance = await team.successor([message(1, rig.use_tool("touch a; exit 3"))])
    await until(lambda: team.status is Status.WAITING_PERMISSION)
    await instance.respond(Reply(allow=True))
    await until(lambda: team.status is Status.READY)
    (used,) = rig.events(EventKind.TOOL_USED)
    assert used.tool_input["command"] == "touch a; exit 3"


@pytest.mark.parametrize("command", ["exit 3", f"true {'x' * 10_000}"], ids=["failed", "long"])
async def test_a_subagent_s_request_that_a_person_allowed_waits_no_more_whatever_became_of_it(
    team: Team, command: str, request: pytest.FixtureRequest
) -> None:
    rig = team.rig
    if request.node.callspec.params["rig"] == "newest":
        pytest.skip("only older versions run a subagent in the foreground")
    work = {"subagent_type": "general-purpose", "description": "w", "prompt": rig.use_tool(command)}
    await team.start()
    await team.successor([message(1, f"@@tool Agent {json.dumps(work)}")])
    await until(lambda: team.status is Status.WAITING_PERMISSION)
    await rig.shows_dialog()
    await rig.pane.press("Enter")
    await rig.event(EventKind.TURN_ENDED)
    await until(lambda: team.status is Status.READY)
    assert rig.waiting_hooks() == []


async def test_an_agent_is_not_ready_between_two_turns_of_which_the_second_was_entered_during_the_first(
    team: Team, request: pytest.FixtureRequest
) -> None:
    rig = team.rig
    if request.node.callspec.params["rig"] != "newest":
        pytest.skip("older versions tell of a prompt when its turn begins")
    await team.start()
    await team.successor([message(1, rig.work(3))])
    await rig.event(EventKind.PROMPT_SUBMITTED)
    await rig.submit(f"[x]\n{rig.work(4)}")
    await rig.event(EventKind.TURN_ENDED)
    await until(lambda: team.status is not Status.BUSY)
    assert len(rig.events(EventKind.TURN_ENDED)) == 2
    assert len(rig.events(EventKind.PROMPT_SUBMITTED)) == 2


async def test_a_request_that_a_person_allows_quickly_waits_no_more_while_its_tool_runs(team: Team) -> None:
    rig = team.rig
    await team.start()
    await team.successor([message(1, rig.use_tool("python3 -c 'import time; time.sleep(60)'"))])
    await rig.event(EventKind.PERMISSION_REQUESTED)
    await rig.shows_dialog()
    await asyncio.sleep(_READING_S)
    await rig.pane.press("Enter")
    await rig.shows(lambda screen: not screen.dialog)
    await until(lambda: team.status is Status.BUSY, timeout_s=20)
    assert EventKind.TOOL_USED not in rig.kinds()
    await rig.pane.press("Escape")
    await rig.shows_empty_composer()
