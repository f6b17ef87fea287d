"""Agents that are stopped, killed, refused by the API, or that say very much."""

from __future__ import annotations

import asyncio
import json
import signal

from actors.errors import PhalanxError
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api import requests
from tests.scenarios.scenario import expect, scenario
from tests.scenarios.stage import Member, Stage, bash

_HELD_FOR_S = 4.0


@scenario()
async def an_agent_that_was_stopped_by_a_signal_says_so_and_takes_its_messages_when_it_goes_on(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    agent = await asyncio.to_thread(member.agent)
    agent.send_signal(signal.SIGSTOP)
    try:
        sent = await member.send("to one that stands still")
        await member.holds_or_says(sent, "stopped", "suspended")  # tmux lets a stopped program go on by itself
    finally:
        agent.send_signal(signal.SIGCONT)
    await member.holds(sent)
    await member.rests()


@scenario()
async def an_agent_that_is_killed_in_a_turn_is_called_failed_and_goes_on_after_a_restart(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    await member.takes("@@slow 30\nthis is never answered")
    (await asyncio.to_thread(member.agent)).kill()
    info = await member.says("ended", "killed", "signal")
    expect(info.status is Status.FAILED, f"its status is {info.status}")
    await member.restart()
    await member.takes("after the restart")


@scenario()
async def messages_that_wait_when_the_agent_is_killed_arrive_after_a_restart_or_are_called_failed(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    await member.takes("@@slow 30\nthis is never answered")
    sending = [asyncio.create_task(member.send(f"order {number} for afterwards", wait_s=60)) for number in range(3)]
    await member.until(lambda info: info.queued_messages == 3, "shown with three messages that wait")
    (await asyncio.to_thread(member.agent)).kill()
    await member.says("ended", "killed", "signal")
    await member.restart()
    await member.takes("after the restart")
    for sent in await asyncio.gather(*sending):
        known = sent.status in {MessageStatus.SUBMITTED, MessageStatus.FAILED}
        expect(known, f"the receipt of one that waited is {sent.status}: {sent.reason}")


@scenario()
async def a_rate_limit_is_told_in_words_and_the_next_message_arrives(stage: Stage) -> None:
    member = await _after_an_error(stage, 429)
    await member.takes("after the limit")


@scenario()
async def an_overloaded_api_is_told_in_words_and_the_next_message_arrives(stage: Stage) -> None:
    member = await _after_an_error(stage, 529)
    await member.takes("after the overload")


@scenario()
async def a_failing_api_is_told_in_words_and_the_next_message_arrives(stage: Stage) -> None:
    member = await _after_an_error(stage, 500)
    await member.takes("after the failure")


@scenario()
async def a_login_that_is_refused_is_told_in_words_and_the_next_message_arrives(stage: Stage) -> None:
    member = await _after_an_error(stage, 401)
    await member.takes("after the refusal")


async def _after_an_error(stage: Stage, code: int) -> Member:
    member = await stage.member()
    await member.rests()
    await member.send(f"@@status {code}\n@@header x-should-retry false\nthis fails")
    await member.until(
        lambda info: info.status in {Status.READY, Status.RATE_LIMITED} and "failed" in (info.reason or ""),
        "told that the last turn failed",
        20,
    )
    return member


@scenario()
async def an_api_that_is_tried_again_and_again_is_told_in_words(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    await member.send("@@status 500\nthis is tried again for minutes")
    await member.until(
        lambda info: any(word in (info.reason or "").lower() for word in ("retry", "retries", "again", "api")),
        "told that the API is tried again",
        20,
    )
    await member.interrupt()
    await member.rests()


@scenario()
async def a_background_command_that_ends_by_itself_starts_a_turn_and_the_instance_is_ready_again(stage: Stage) -> None:
    command = bash("python3 -c 'import time; time.sleep(4)'", run_in_background=True)
    member = await stage.member(command, permission_mode="bypassPermissions", env={"IS_SANDBOX": "1"})
    await member.rests()
    for number in range(4):
        await member.takes(f"order {number} beside a background command")
        await asyncio.sleep(1.2)
    await asyncio.sleep(2)
    await member.rests()


@scenario()
async def a_tool_result_of_a_megabyte_harms_nothing_and_read_stays_short(stage: Stage) -> None:
    command = bash("head -c 1000000 /dev/zero | tr '\\0' x; touch it-ran")
    member = await stage.member(command, permission_mode="bypassPermissions", env={"IS_SANDBOX": "1"})
    await member.rests(60)
    expect((member.directory / "it-ran").exists(), "the command did not run")
    page = await stage.client.read(requests.ReadRequest(instance_id=member.instance_id))
    length = sum(len(entry.text) for entry in page.entries)
    expect(length < 100_000, f"read gives {length} characters")
    await member.takes("after much output")


@scenario()
async def messages_that_are_sent_while_a_conversation_is_recycled_arrive_once(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()

    async def lead() -> None:
        await asyncio.sleep(0.1)
        for number in range(25):
            await member.send(f"order {number} beside the recycling")
            await asyncio.sleep(0.2)

    recycling = asyncio.create_task(member.recycle())
    await lead()
    recycled = await recycling
    expect(recycled.summary, "there is no summary")
    await member.takes("after the recycling")


@scenario()
async def a_conversation_whose_summary_fails_is_not_thrown_away(stage: Stage) -> None:
    member = await stage.member("this must not be forgotten\n@@next-status 500")
    await member.rests()
    try:
        recycled = await member.recycle()
    except PhalanxError as error:
        expect("summary" in str(error).lower(), f"the refusal says {error}")
    else:
        raise AssertionError(f"it was recycled with the summary {recycled.summary[:200]!r}")
    await member.rests()
    await member.takes("what was it?")
    await member.until(lambda _: stage.api.requests_with("what was it?"), "asked what it was")
    asked = str(stage.api.requests_with("what was it?")[-1]["messages"])
    expect("this must not be forgotten" in asked, "the conversation was thrown away")


@scenario()
async def an_interrupted_instance_is_ready_and_takes_the_next_message(stage: Stage) -> None:
    member = await stage.member("@@slow 60")
    stopped = await member.interrupt()
    expect(stopped.interrupted, "nothing was interrupted")
    sent = await member.send("and now this", wait_s=30)
    expect(sent.status is MessageStatus.SUBMITTED, f"its receipt is {sent.status}: {sent.reason}")


@scenario()
async def thirty_messages_at_once_arrive_once_each_and_in_order(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    batch = [requests.BatchMessage(instance_id=member.instance_id, message=f"order {n}") for n in range(30)]
    done = await stage.client.send_batch(requests.SendBatchRequest(messages=batch, wait=True, timeout_seconds=60))
    member.sent.update({str(each.message_id): f"order {n}" for n, each in enumerate(done.results)})
    await member.rests()
    said = "\n".join(each.text for each in member.conversations.said())
    places = [said.find(str(each.message_id)) for each in done.results]
    expect(places == sorted(places), f"the order is {places}")


@scenario()
async def instances_that_are_ended_right_after_their_start_change_nothing_for_their_user(stage: Stage) -> None:
    user = stage.another_user()
    for _ in range(4):
        member = await stage.member(user_home=user)
        await member.ends()
    config = json.loads((user / ".claude.json").read_text())
    changed = [name for name in ("fullscreenAutoDisabled", "fullscreenBootStrikes") if config.get(name)]
    expect(not changed, f"Claude Code noted {changed}: it draws otherwise for this user from now on")


@scenario()
async def messages_that_are_sent_while_an_instance_restarts_arrive_once(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    restarting = asyncio.create_task(member.restart())
    for number in range(10):
        await asyncio.sleep(0.2)
        sent = await member.send(f"order {number} beside the restart")
        expect(sent.success, f"refused while it restarts: {sent.error}")
    await restarting
    await member.takes("after the restart")


@scenario()
async def the_same_text_twice_arrives_twice(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    first, second = await member.send("again"), await member.send("again")
    await member.holds(first)
    await member.holds(second)
    text = "\n".join(f"line {number}" for number in range(50))
    first, second = await member.send(text), await member.send(text)
    await member.holds(first)
    await member.holds(second)


@scenario()
async def an_instance_that_is_interrupted_at_a_permission_dialog_runs_nothing_and_goes_on(stage: Stage) -> None:
    member = await stage.member(bash("touch it-ran"))
    await member.asks("Bash", 30)
    await member.interrupt()
    await member.rests()
    expect(not (member.directory / "it-ran").exists(), "approved: the call ran although nobody allowed it")
    await member.takes("after the interrupt")


@scenario()
async def an_instance_in_a_directory_that_is_no_repository_takes_messages(stage: Stage) -> None:
    place = stage.directory / "a place with blanks, üñí and (brackets)"
    place.mkdir()
    member = await stage.member(repository=place, workspace_mode="shared")
    await member.rests()
    await member.takes("in a shared place")
