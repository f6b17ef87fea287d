"""What people see of an agent and do at its terminal from afar: its task and activity, its screen live, their keys."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import pytest

from actors.agents.base import EntryKind, EventKind
from actors.errors import WrongStateError
from actors.instance.instance import Instance
from actors.instance.reports import InstanceSnapshot
from actors.instance.responding import Reply
from actors.instance.terminal import TerminalScreen
from actors.messages import MessageStatus
from actors.status import Status
from actors.tmux.pane import NamedKey, TypedText
from tests.integration.agents.rig import PATIENCE_S, until
from tests.integration.agents.succession import SUBMITTED, Team, message

pytestmark = pytest.mark.each_version

STYLE = re.compile(r"\x1b\[[0-9;:]*m")
ENTER = NamedKey("Enter")


async def snapshot(instance: Instance) -> InstanceSnapshot:
    return (await instance.reports(0, 1.0)).snapshot


async def shows(instance: Instance, words: str, after: str = "") -> TerminalScreen:
    """The first view with these words; each is waited for by the version of the one before."""
    shown = await instance.watch_terminal(after, 10.0)
    async with asyncio.timeout(PATIENCE_S):
        while words not in text_of(shown):
            shown = await instance.watch_terminal(shown.version, 10.0)
    return shown


def text_of(shown: TerminalScreen) -> str:
    return "\n".join(STYLE.sub("", line) for line in shown.view.lines)


async def test_task_activity_model_and_context_are_told_from_the_transcript(team: Team) -> None:
    await team.start()
    asked = message(1, f"Make the file.\n{team.rig.use_tool('touch made')}")
    instance = await team.successor([asked])
    await until(lambda: team.status is Status.WAITING_PERMISSION)
    await team.told([asked], SUBMITTED)

    async def is_told() -> bool:
        told = await snapshot(instance)
        return (told.task, told.activity) == ("Make the file.", "Bash: touch made")

    await until(is_told)
    during = await snapshot(instance)
    await instance.respond(Reply(allow=True))
    await until(lambda: team.rig.has_run("touch made"))
    await until(lambda: len(team.rig.entries(EntryKind.ANSWER)) > 0 and team.status is Status.READY)
    (said,) = team.rig.entries(EntryKind.ANSWER)

    async def is_answered() -> bool:
        told = await snapshot(instance)
        return told.status is Status.READY and told.activity_at == said.at

    await until(is_answered)
    after = await snapshot(instance)
    assert said.text.startswith(after.activity.removesuffix("…"))
    assert after.task == "Make the file."
    assert after.model == said.model != ""
    assert said.tokens is not None
    assert after.context_tokens == said.tokens.counted + said.tokens.cache_read_tokens > 0
    assert during.activity_at < after.activity_at
    assert after.context_window is None or after.context_window >= after.context_tokens

    # A later actor reads it all again.
    await instance.leave()
    later = await team.successor([])

    async def knows_it_all() -> bool:
        told = await snapshot(later)
        return (told.task, told.activity, told.model, told.context_tokens) == (
            after.task,
            after.activity,
            after.model,
            after.context_tokens,
        )

    await until(knows_it_all)


async def test_what_is_typed_from_afar_is_seen_holds_messages_and_is_sent_by_its_enter_alone(team: Team) -> None:
    await team.start()
    instance = await team.successor([])
    first = await instance.watch_terminal("", 0.0)
    assert len(first.view.lines) == first.view.rows

    await instance.type_keys([TypedText("fix the buxx"), NamedKey("BSpace"), NamedKey("BSpace")])
    await instance.type_keys([TypedText("ild")])
    shown = await shows(instance, "fix the build", first.version)
    one = message(1, "a message")
    await instance.deliver([one])
    await until(lambda: any(r.status is MessageStatus.BLOCKED for r in team.receipts))
    assert not team.rig.events(EventKind.PROMPT_SUBMITTED)

    await instance.type_keys([ENTER])
    await team.told([one], SUBMITTED)
    prompts = [event.text.strip() for event in team.rig.events(EventKind.PROMPT_SUBMITTED)]
    assert prompts[0] == "fix the build"
    assert one.id in prompts[1]
    await shows(instance, "a message", shown.version)
    await until(lambda: team.status is Status.READY)
    assert (await snapshot(instance)).task == "a message"


async def test_a_key_of_a_person_is_not_taken_by_a_dialog_that_this_person_has_not_seen(team: Team) -> None:
    await team.start()
    asked = message(1, f"Make the file.\n{team.rig.use_tool('touch made')}")
    instance = await team.successor([])
    before = await instance.watch_terminal("", 0.0)
    await instance.deliver([asked])
    await until(lambda: team.status is Status.WAITING_PERMISSION)
    dialog = await shows(instance, "touch made", before.version)
    while "No" not in text_of(dialog):
        dialog = await instance.watch_terminal(dialog.version, 10.0)
    with pytest.raises(WrongStateError, match="Nothing was typed: meanwhile a dialog is up"):
        await instance.type_keys([ENTER], before.version)
    assert team.status is Status.WAITING_PERMISSION

    async def is_allowed() -> bool:
        if team.status is Status.WAITING_PERMISSION:  # newer versions take no key of a dialog that they have just drawn
            await instance.type_keys([ENTER], dialog.version)
        return team.rig.has_run("touch made")

    await until(is_allowed)


async def test_nothing_is_typed_for_an_agent_that_has_ended(team: Team) -> None:
    await team.start()
    instance = await team.successor([])
    await instance.expect_end()
    os.kill(team.rig.pid, signal.SIGTERM)
    await until(lambda: team.status is Status.STOPPED)
    with pytest.raises(WrongStateError, match="has ended: nothing was typed"):
        await instance.type_keys([TypedText("ls")])
