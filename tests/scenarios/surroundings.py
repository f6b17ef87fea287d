"""Repositories, settings and machines as people have them."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from pathlib import Path

from actors.errors import PhalanxError
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api import requests
from tests.people import patient
from tests.projects import git
from tests.scenarios.scenario import expect, scenario
from tests.scenarios.stage import WORDS_WITHIN_S, Stage, bash

_START_S = 8.0
"""How long a start takes on a machine with much else to do, before anything can be asked."""
_NUMBERS = itertools.count()
_REDUCED = {"prefersReducedMotion": True, "statusLine": {"type": "command", "command": "echo a line of the user"}}


def _project(settings: object) -> dict[str, str]:
    return {".claude/settings.json": json.dumps(settings)}


def _prompt_hook(command: str) -> object:
    return {"hooks": {"UserPromptSubmit": [{"hooks": [{"type": "command", "command": command}]}]}}


@scenario()
async def a_repository_with_an_mcp_server_starts_or_says_within_ten_seconds_what_is_asked(stage: Stage) -> None:
    server = {"mcpServers": {"helper": {"command": "cat", "args": []}}}
    repository = stage.repository({".mcp.json": json.dumps(server)})
    await _starts_or_says(stage, repository, "MCP", "helper")


@scenario()
async def a_repository_with_an_mcp_server_that_was_approved_in_its_checkout_starts(stage: Stage) -> None:
    server = {"mcpServers": {"helper": {"command": "cat", "args": []}}}
    repository = stage.repository({".mcp.json": json.dumps(server)})
    (repository / ".claude").mkdir(exist_ok=True)
    (repository / ".claude" / "settings.local.json").write_text(json.dumps({"enabledMcpjsonServers": ["helper"]}))
    member = await stage.member(repository=repository)
    await member.rests()
    await member.takes("in a repository with an approved server")


@scenario()
async def a_repository_that_imports_instructions_from_outside_starts_or_says_what_is_asked(stage: Stage) -> None:
    (stage.directory / "outside.md").write_text("Be kind.\n")
    repository = stage.repository({"CLAUDE.md": f"See @{stage.directory / 'outside.md'}\n"})
    await _starts_or_says(stage, repository, "import", "CLAUDE.md", "external")


async def _starts_or_says(stage: Stage, repository: Path, *words: str, user_home: Path | None = None) -> None:
    """It starts, or the list says within ten seconds in words what is asked at its terminal."""
    name = f"asked{next(_NUMBERS)}"
    spawning = asyncio.create_task(stage.member(repository=repository, user_home=user_home, name=name))
    reason = ""
    deadline = time.monotonic() + patient(_START_S + WORDS_WITHIN_S)
    while not spawning.done() and time.monotonic() < deadline:
        reason = await stage.told_of(name)
        if any(word.lower() in reason.lower() for word in words):
            break
        await asyncio.sleep(0.2)
    if not spawning.done():
        told = any(word.lower() in reason.lower() for word in words)
        asked = await stage.named(name)
        offered = asked.dialog.options if asked and asked.dialog else []
        if not told or not asked or not offered:
            spawning.cancel()
        expect(told, f"it does not start, and list says after {_START_S + WORDS_WITHIN_S:.0f} s: {reason!r}")
        expect(offered, f"it asks at its terminal, and respond is offered nothing to choose: {reason!r}")
        assert asked is not None
        chosen = next((each for each in offered if each.lower().startswith("no")), offered[-1])
        await stage.client.respond(requests.RespondRequest(instance_id=asked.instance_id, option=chosen))
    member = await spawning
    await member.rests()
    await member.takes("in a repository of everyday life")


@scenario()
async def hooks_that_a_project_switched_off_do_not_make_the_instance_deaf(stage: Stage) -> None:
    member = await stage.member(repository=stage.repository(_project({"disableAllHooks": True})))
    await member.rests()
    sent = await member.send("without hooks", wait_s=20)
    await member.holds(sent)
    expect(sent.status is MessageStatus.SUBMITTED, f"its receipt is {sent.status}: {sent.reason}")


@scenario()
async def hooks_that_the_user_switched_off_do_not_make_the_instance_deaf(stage: Stage) -> None:
    member = await stage.member(user_home=stage.another_user(json.dumps({"disableAllHooks": True})))
    await member.rests()
    sent = await member.send("without hooks", wait_s=20)
    await member.holds(sent)
    expect(sent.status is MessageStatus.SUBMITTED, f"its receipt is {sent.status}: {sent.reason}")
    await member.send(bash("touch it-ran"))
    await member.asks("Bash", 20)
    await member.answers("deny", message="no")


@scenario()
async def a_prompt_that_the_users_own_hook_blocks_is_not_called_submitted(stage: Stage) -> None:
    hook = """python3 -c 'import json,sys; sys.exit(2 if "forbidden" in json.load(sys.stdin)["prompt"] else 0)'"""
    member = await stage.member(repository=stage.repository(_project(_prompt_hook(hook))))
    await member.rests()
    sent = await member.send("a forbidden word", wait_s=15)
    stands = member.conversations.times()[str(sent.message_id)]
    expect(
        sent.status is not MessageStatus.SUBMITTED or stands,
        "the receipt says submitted, and the message is in no conversation",
    )
    if not stands:
        expect(
            "hook" in (sent.reason or "") or "block" in (sent.reason or ""),
            f"the receipt says {sent.status}: {sent.reason}",
        )
        member.sent.pop(str(sent.message_id), None)
    await member.takes("an allowed word")


@scenario()
async def a_blocked_prompt_takes_no_other_message_of_its_batch_along(stage: Stage) -> None:
    hook = """python3 -c 'import json,sys; sys.exit(2 if "forbidden" in json.load(sys.stdin)["prompt"] else 0)'"""
    member = await stage.member(repository=stage.repository(_project(_prompt_hook(hook))))
    await member.rests()
    texts = ["a good word", "a forbidden word", "another good word"]
    batch = [requests.BatchMessage(instance_id=member.instance_id, message=text) for text in texts]
    done = await stage.client.send_batch(requests.SendBatchRequest(messages=batch, wait=True, timeout_seconds=30))
    for text, result in zip(texts, done.results, strict=True):
        stands = member.conversations.times()[str(result.message_id)]
        expect(
            stands or result.status is not MessageStatus.SUBMITTED,
            f"{text!r} is called submitted and is in no conversation",
        )


@scenario()
async def a_hook_of_the_user_that_takes_five_seconds_neither_loses_nor_doubles_a_message(stage: Stage) -> None:
    member = await stage.member(repository=stage.repository(_project(_prompt_hook("sleep 5"))))
    await member.rests()
    for number in range(2):
        sent = await member.send(f"slow order {number}", wait_s=30)
        expect(sent.status is MessageStatus.SUBMITTED, f"its receipt is {sent.status}: {sent.reason}")
    await member.rests()


@scenario()
async def a_status_line_with_the_words_not_logged_in_blocks_nothing(stage: Stage) -> None:
    line = {"statusLine": {"type": "command", "command": "echo Not logged in to the registry"}}
    member = await stage.member(repository=stage.repository(_project(line)))
    await member.rests()
    await member.takes("below that line")


@scenario()
async def a_status_line_of_many_rows_that_looks_like_a_dialog_blocks_nothing(stage: Stage) -> None:
    command = "printf 'Esc to cancel\\n  1. Yes\\n  2. No\\n────────────\\n> typed\\n'"
    line = {"statusLine": {"type": "command", "command": command}}
    member = await stage.member(repository=stage.repository(_project(line)))
    await member.rests()
    await member.takes("below that line")


@scenario()
async def an_agent_that_works_with_reduced_motion_is_not_taken_for_ready(stage: Stage) -> None:
    member = await stage.member(repository=stage.repository(_project(_REDUCED)))
    await member.rests()
    await member.send("@@slow 16\nthis takes long")
    await member.works()
    sent = await member.send("for afterwards")
    for _ in range(13):
        await asyncio.sleep(1)
        info = await member.info()
        expect(info.status is Status.BUSY, f"a working agent is called {info.status}; {await member.describes()}")
        expect(not member.conversations.times()[str(sent.message_id)], "it was typed into while it worked")
    await member.holds(sent)


@scenario()
async def a_default_mode_in_the_users_settings_asks_nothing_at_the_start(stage: Stage) -> None:
    user = stage.another_user(json.dumps({"permissions": {"defaultMode": "default"}}))
    member = await stage.member(user_home=user)
    await member.rests()
    await member.takes("with a default mode")


@scenario()
async def settings_with_environment_and_rules_of_a_project_change_nothing(stage: Stage) -> None:
    settings = {"env": {"COLOUR": "blue"}, "permissions": {"allow": ["Bash(touch:*)"], "deny": ["WebFetch"]}}
    member = await stage.member(bash("touch it-ran"), repository=stage.repository(_project(settings)))
    await member.rests()
    await member.takes("with settings of the project")


@scenario()
async def a_broken_settings_file_of_a_project_is_told_in_words_or_does_no_harm(stage: Stage) -> None:
    repository = stage.repository({".claude/settings.json": "{ this is no JSON"})
    await _starts_or_says(stage, repository, "settings")


@scenario()
async def a_configuration_of_claude_that_is_no_json_is_told_in_words_and_left_as_it_is(stage: Stage) -> None:
    user = stage.another_user()
    (user / ".claude.json").write_text("{ half a file")
    try:
        member = await stage.member(user_home=user)
    except PhalanxError as error:
        expect(".claude.json" in str(error), f"the refusal does not name the file: {error}")
        expect((user / ".claude.json").read_text() == "{ half a file", "the file was changed")
    else:
        await member.rests()


@scenario()
async def a_configuration_that_breaks_while_an_instance_runs_takes_no_message_away(stage: Stage) -> None:
    user = stage.another_user()
    member = await stage.member(user_home=user)
    await member.rests()
    (user / ".claude.json").write_text("{ half a file")
    await member.takes("with a broken configuration")
    await member.rests()


@scenario()
async def instances_go_on_when_claude_is_upgraded_on_disk_and_new_ones_start(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    newer = stage.claude.with_name("claude-upgrade")
    newer.symlink_to(stage.program.resolve())
    newer.replace(stage.claude)
    await member.takes("to the one that runs")
    other = await stage.member("to the new one")
    await other.rests()
    await member.rests()
    await member.restart()
    await member.takes("to the one that was restarted")


@scenario()
async def invisible_characters_arrive_or_the_receipt_says_what_was_changed(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    text = "left \u202eright\u202c zero\u200bwidth soft\u00adhyphen line\u2028separator mark\ufeff end"
    sent = await member.send(text, wait_s=20)
    await member.holds(sent)
    (said,) = [each.text for each in member.conversations.said() if str(sent.message_id) in each.text]
    if text not in said:
        told = sent.model_dump(by_alias=True)
        expect(
            told.get("exact") is False or sent.removed_characters, f"what arrived differs, and the receipt says {told}"
        )


@scenario()
async def work_behind_a_lossy_filter_is_saved_when_the_instance_ends(stage: Stage) -> None:
    repository = stage.repository({".gitattributes": "*.nb filter=strip\n", "a.nb": "code\n"})
    git(repository, "config", "filter.strip.clean", "grep -v output || true")
    member = await stage.member(repository=repository)
    await member.rests()
    (member.directory / "a.nb").write_text("code\noutput of a long night\n")
    ended = await stage.client.terminate(requests.TerminateRequest(instance_id=member.instance_id))
    (what,) = ended.terminated
    if member.directory.exists():
        expect("long night" in (member.directory / "a.nb").read_text(), "the file was changed")
        return
    expect(what.saved_ref, f"the worktree is gone and nothing was saved: {what}")
    kept = git(repository, "show", f"{what.saved_ref}:a.nb")
    expect("long night" in kept, f"the worktree is gone, and what was saved of the file is {kept!r}")


@scenario()
async def a_nested_claude_is_not_taken_for_the_instance(stage: Stage) -> None:
    nested = f"{stage.program.resolve()} -p 'a nested question'"
    member = await stage.member(bash(nested), permission_mode="bypassPermissions", env={"IS_SANDBOX": "1"})
    await member.rests(60)
    await member.takes("after a nested claude")


@scenario()
async def a_merge_into_a_branch_with_merge_options_is_told_as_it_is(stage: Stage) -> None:
    repository = stage.repository()
    git(repository, "checkout", "-q", "-b", "side")
    (repository / "new.txt").write_text("new")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "Side")
    git(repository, "checkout", "-q", "main")
    git(repository, "config", "branch.main.mergeOptions", "--squash")
    operation = requests.GitOperation(type="merge", workspace_dir=str(repository), params={"branch": "side"})
    (done,) = (await stage.client.git_batch(requests.GitBatchRequest(operations=[operation]))).results
    merged = "Side" in git(repository, "log", "--format=%s")
    expect(done.success is merged, f"the merge is told as {done.success} {done.result} {done.error}, merged: {merged}")
