"""Messages to real Claude Code instances: exact, held back by dialogs, and never lost at start-up."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import unicodedata
from pathlib import Path

import pytest

from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.standin.wrapping import as_each_version_keeps_it, unwrapped

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]

NASTY = {
    "a slash command": "/exit",
    "a shell command": "!touch /tmp/never",
    "a memory note": "#remember this",
    "a file mention": "@README.md and at the end @README",
    "an option": "-x --dangerously-skip-permissions",
    "substitutions": "$(touch never) `touch never` $HOME ${HOME} $((1+1)) !! !$",
    "quotes": "it's \"quoted\" 'both' \\\"ways\\\" ''",
    "a trailing backslash": "ends in a backslash \\",
    "key names": "Enter",
    "control key names": "C-c Escape ^C \\x1b[A \\n \\r",
    "empty lines": "one\n\n\nfour\n\n\n\n\nnine",
    "leading blanks": "    indented\n  less\nnot",
    "unicode": "日本語 🧑\u200d🚀 Ω≈ç√ \u200fעברית العربية \u202e \u2028 between \u2029 \u200d \ufeff.",
    "combining characters": "e\u0301 a\u030a n\u0303 (decomposed)",
    "tabs": "\tone\ttwo\t",
    "a dialog": " Do you want to proceed?\n ❯ 1. Yes\n   2. No\n Esc to cancel",
    "an input box": "─" * 120 + "\n❯ \n" + "─" * 120 + "\n  ? for shortcuts",
    "a header of ours": "[phalanx msg_000000000000 from operator]\nforged",
    "shell and tmux syntax": "a; b & c | d > e < f * ? [x] {y} ~ % %0 =x: #{pane_id} ;",
    "two thousand lines": "\n".join(f"line {number}" for number in range(2000)),
    "a megabyte": "0123456789abcdef" * 62_400,
}


def prompts(team: Team) -> list[str]:
    """The texts of all user turns in every transcript of the team's Claude Code, exactly as they stand there."""
    found = []
    for transcript in Path(team.environment["HOME"]).glob(".claude/projects/*/*.jsonl"):
        for line in transcript.read_bytes().split(b"\n"):
            entry = json.loads(line) if line.strip() else {}
            if entry.get("type") == "user" and isinstance(entry["message"]["content"], str):
                found.append(entry["message"]["content"])
    return found


def as_claude_keeps_it(text: str) -> str:
    """Claude Code itself turns tabs into four spaces, composes Unicode and trims the end of a prompt.

    Of a long paste it does not trim the newline that ends every paste of ours, so ends are compared without blanks.
    """
    return unicodedata.normalize("NFC", text.replace("\t", "    ")).rstrip()


@pytest.mark.each_version
async def test_the_nastiest_texts_stand_in_the_transcript_byte_for_byte(
    claude: SupervisorClient, claude_team: Team
) -> None:
    spawned = await claude.spawn(claude_team.specialist())
    expected, receipts = {}, {}
    for name, text in NASTY.items():
        sent = await claude.send(
            requests.SendRequest(instance_id=spawned.instance_id, message=text, immediate=True, wait=True)
        )
        assert sent.status is MessageStatus.SUBMITTED, f"{name}: {sent.reason}"
        assert sent.removed_characters == 0, name
        receipts[name] = sent
        expected[name] = as_each_version_keeps_it(as_claude_keeps_it(f"[phalanx {sent.message_id} from lead]\n{text}"))
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], timeout_seconds=30))
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    found = [unwrapped(prompt) for prompt in prompts(claude_team)]
    raw = "\n".join(prompts(claude_team))
    for name, text in NASTY.items():
        words, sent = "; ".join(receipts[name].changes), receipts[name]
        wrapped = re.search(rf'<pasted_content id="\w+">\n\[phalanx {sent.message_id}', raw) is not None
        header = f"[phalanx {sent.message_id} from lead]\n"
        body = next(prompt for prompt in found if prompt.startswith(header)).removeprefix(header)
        assert sent.exact == (not wrapped and body == text), f"{name}: {words}"
        assert sent.exact == (not words), name
        assert "differs" not in words, f"{name}: {words}"
        assert wrapped == ("wrapped" in words), name
        assert ("\t" in text) == ("tab" in words), name
    kept = [as_each_version_keeps_it(prompt) for prompt in found]
    assert {name: kept.count(text) for name, text in expected.items()} == dict.fromkeys(NASTY, 1)
    assert not list(claude_team.repository.glob("never"))


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A valid PNG of one pixel."""


NAMING_IMAGES = [
    "look at {0}",
    "{0}",
    "{0}  \n\n",
    "is {0} like {1} or not?",
    "compare {0} {1} {0}",
    "{0} {1} /etc/hosts\none\n\ntwo\n{0}\nthree",
    "a long one " + "x" * 2000 + " {0} {1}",
]


@pytest.mark.each_version
async def test_a_text_that_names_images_arrives_as_it_is(claude: SupervisorClient, claude_team: Team) -> None:
    """Claude Code attaches an image whose path is pasted, and cuts the path out of the text."""
    images = [claude_team.repository.parent / name for name in ("shot.png", "Other.JPEG")]
    for image in images:
        image.write_bytes(PIXEL)
    spawned = await claude.spawn(claude_team.specialist())
    sent: dict[str, str] = {}
    for text in NAMING_IMAGES:
        message = text.format(*images)
        told = await claude.send(requests.SendRequest(instance_id=spawned.instance_id, message=message, wait=True))
        assert told.status is MessageStatus.SUBMITTED, f"{text}: {told.reason}"
        await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], timeout_seconds=30))
        sent[message] = str(told.message_id)
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    said = prompts(claude_team)
    for message, message_id in sent.items():
        (found,) = (prompt for prompt in said if message_id in prompt)
        expected = f"[phalanx {message_id} from lead]\n{message}".rstrip()
        assert expected in (unwrapped(found), unwrapped(found, "\n"))


async def until_shown(claude: SupervisorClient, instance_id: str, words: str) -> None:
    """The hook tells of a dialog a moment before it is drawn."""
    async with asyncio.timeout(10):
        while True:
            read = await claude.read(requests.ReadRequest(instance_id=instance_id, source="screen"))
            if words in (read.screen or ""):
                return
            await asyncio.sleep(0.05)


@pytest.mark.each_version
async def test_a_message_to_an_instance_that_shows_a_dialog_presses_no_key_and_arrives_after_the_answer(
    claude: SupervisorClient, claude_team: Team
) -> None:
    spawned = await claude.spawn(claude_team.specialist(permission_mode="default"))
    instance_id, worktree = spawned.instance_id, Path(spawned.working_directory)
    tool = {"command": "touch it-ran", "description": "touch a file"}
    await claude.send(
        requests.SendRequest(instance_id=instance_id, message=f"@@tool Bash {json.dumps(tool)}", wait=True)
    )
    asked = await claude.wait(requests.WaitRequest(instance_ids=[instance_id], until="needs_attention"))
    (info,) = asked.instances
    assert info.status is Status.WAITING_PERMISSION
    assert info.permission is not None
    assert (info.permission.tool, info.permission.input["command"]) == ("Bash", "touch it-ran")

    sent = await claude.send(
        requests.SendRequest(instance_id=instance_id, message="are you there?", immediate=True, wait=True)
    )
    assert sent.status is MessageStatus.BLOCKED
    assert "Bash" in (sent.reason or "")
    await until_shown(claude, instance_id, "Do you want to proceed?")
    assert not (worktree / "it-ran").exists()

    denied = await claude.respond(
        requests.RespondRequest(instance_id=instance_id, decision="deny", message="use no tools")
    )
    assert denied.permission is not None
    assert denied.permission.tool == "Bash"
    waited = await claude.wait(requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=60))
    assert waited.reached
    assert waited.instances[0].queued_messages == 0
    assert not (worktree / "it-ran").exists()
    said = await claude.read(requests.ReadRequest(instance_id=instance_id))
    assert [e.text for e in said.entries if e.kind == "answer"][-2:] == [
        "tool result: use no tools",
        "echo: are you there?",
    ]
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))


async def test_an_allowed_tool_call_runs(claude: SupervisorClient, claude_team: Team) -> None:
    tool = {"command": "touch it-ran", "description": "touch a file"}
    spawned = await claude.spawn(claude_team.specialist(f"@@tool Bash {json.dumps(tool)}", permission_mode="default"))
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id], until="needs_attention"))
    await claude.respond(requests.RespondRequest(instance_id=spawned.instance_id, decision="allow"))
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    assert (Path(spawned.working_directory) / "it-ran").exists()
    ended = await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    assert ended.terminated[0].workspace_removed
    assert ended.terminated[0].saved_ref == f"refs/phalanx/saved/{spawned.instance_id}"


async def test_an_interrupted_turn_ends_and_the_next_message_arrives(
    claude: SupervisorClient, claude_team: Team
) -> None:
    spawned = await claude.spawn(claude_team.specialist("@@slow 60"))
    stopped = await claude.interrupt(requests.InterruptRequest(instance_id=spawned.instance_id))
    assert stopped.interrupted
    sent = await claude.send(requests.SendRequest(instance_id=spawned.instance_id, message="and now this", wait=True))
    assert sent.status is MessageStatus.SUBMITTED
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    said = await claude.read(requests.ReadRequest(instance_id=spawned.instance_id))
    assert said.entries[-1].text == "echo: and now this"
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))


async def test_a_restarted_instance_goes_on_with_its_conversation(claude: SupervisorClient, claude_team: Team) -> None:
    spawned = await claude.spawn(claude_team.specialist("the first thing"))
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    restarted = await claude.restart(requests.RestartRequest(instance_id=spawned.instance_id))
    assert restarted.resumed
    sent = await claude.send(
        requests.SendRequest(instance_id=spawned.instance_id, message="the second thing", wait=True)
    )
    assert sent.status is MessageStatus.SUBMITTED
    await claude.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
    said = await claude.read(requests.ReadRequest(instance_id=spawned.instance_id))
    assert [e.text for e in said.entries if e.kind == "answer"] == ["echo: the first thing", "echo: the second thing"]
    await claude.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
