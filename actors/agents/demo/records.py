"""What the demo writes about itself: its transcript, in the form of Claude Code's, and the events for its hooks."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
import uuid
from pathlib import Path
from typing import Any

from actors.agents import hook, spool
from actors.agents.demo.loop import ChildProcess
from actors.agents.demo.options import DemoOptions

Json = dict[str, Any]
INPUT_TOKENS = 10
"""Of an answer for which the message names no other number."""
_USAGE = {"output_tokens": 5, "cache_creation_input_tokens": 0}
_CHARACTERS_A_TOKEN = 4
MODEL = "demo"


class TranscriptWriter:
    def __init__(self, path: Path, session_id: str, cwd: Path) -> None:
        self.path = path
        self.input_tokens = INPUT_TOKENS
        """Of the answers that are written from now on."""
        self._common = {"sessionId": session_id, "cwd": str(cwd), "version": "demo", "isSidechain": False}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._characters = sum(len(text) for _, text in self.exchanges()) if path.exists() else 0
        """Said so far, by anybody."""

    def prompt(self, text: str, source: str) -> None:
        self._user(text, origin={"kind": "human"}, promptSource=source)

    def queued(self, text: str) -> None:
        self._append({"type": "queue-operation", "operation": "enqueue", "content": text})

    def dequeued(self) -> None:
        self._append({"type": "queue-operation", "operation": "dequeue"})

    def injected(self, text: str) -> None:
        """A message that is taken into the turn under way."""
        attachment = {"type": "queued_command", "prompt": text, "commandMode": "prompt"}
        self._append({"type": "attachment", "attachment": attachment})

    def answer(self, text: str) -> None:
        self._assistant({"type": "text", "text": text})

    def failure(self, text: str, error: str, status: int) -> None:
        self._assistant({"type": "text", "text": text}, error=error, isApiErrorMessage=True, apiErrorStatus=status)

    def tool_call(self, tool: str, tool_input: Json) -> str:
        """The id of the call."""
        call_id = f"toolu_{uuid.uuid4().hex[:24]}"
        self._assistant({"type": "tool_use", "id": call_id, "name": tool, "input": tool_input})
        return call_id

    def tool_result(self, call_id: str, text: str, *, error: bool) -> None:
        self._user([{"type": "tool_result", "tool_use_id": call_id, "content": text, "is_error": error}])

    def interrupted(self, during_tool: bool) -> None:
        what = " for tool use" if during_tool else ""
        self._user([{"type": "text", "text": f"[Request interrupted by user{what}]"}])

    def _user(self, content: object, **more: object) -> None:
        self._append({"type": "user", "message": {"role": "user", "content": content}, **more})

    def _assistant(self, block: Json, **more: object) -> None:
        message = {
            "id": f"msg_{uuid.uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [block],
            # What was said before is read again for each answer, as from a cache.
            "usage": {
                "input_tokens": self.input_tokens,
                "cache_read_input_tokens": self._characters // _CHARACTERS_A_TOKEN,
                **_USAGE,
            },
        }
        self._append({"type": "assistant", "message": message, **more})

    def _append(self, line: Json) -> None:
        self._characters += _characters_in(line)
        now = time.time()
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        record = {**self._common, **line, "uuid": str(uuid.uuid4()), "timestamp": at}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    def exchanges(self) -> list[tuple[str, str]]:
        """What was said so far: ``(speaker, text)`` of every plain prompt (``user``) and answer (``agent``)."""
        said = []
        for line in filter(None, self.path.read_bytes().split(b"\n")):
            data = json.loads(line)
            content = data.get("message", {}).get("content")
            if data["type"] == "user" and isinstance(content, str):
                said.append(("user", content))
            elif data["type"] == "assistant" and content[0]["type"] == "text":
                said.append(("agent", content[0]["text"]))
        return said


def _characters_in(line: Json) -> int:
    """Of what is said on one line of the transcript."""
    content = line["message"]["content"] if "message" in line else line.get("attachment", {}).get("prompt", "")
    return len(content) if isinstance(content, str) else sum(len(_said(block)) for block in content)


def _said(block: Json) -> str:
    return str(block.get("text") or block.get("content") or block.get("input") or "")


class HookRunner:
    """Runs the hooks of the demo's settings file as Claude Code does.

    Every event is one JSON object on the hook's standard input. To run many demos cheaply, an event of our own hook
    program is recorded in this process by that program's own code; a permission request always gets its process.
    """

    def __init__(self, options: DemoOptions, transcript_path: Path) -> None:
        self._commands = _commands(options.settings)
        self._always_processes = options.hook_processes
        self._common: Json = {
            "session_id": options.session_id,
            "transcript_path": str(transcript_path),
            "cwd": str(options.cwd),
            "permission_mode": options.permission_mode,
        }

    def fire(self, event: str, **fields: object) -> None:
        """Runs the hooks of an event and waits for their end."""
        payload = self._payload(event, fields)
        for command in self._commands.get(event, ()):
            ours = _our_directory(command)
            if ours and not self._always_processes:
                with contextlib.suppress(OSError):
                    hook.record(ours, event, payload, os.getpid())
            else:
                self._start(command, payload).wait()

    def told(self) -> str:
        """What our own hook program would tell the agent with the next prompt."""
        ours = next(filter(None, map(_our_directory, self._commands.get("UserPromptSubmit", ()))), "")
        text = spool.context(ours) if ours and not self._always_processes else b""
        return str(json.loads(text)["hookSpecificOutput"]["additionalContext"]) if text else ""

    def ask(self, tool: str, tool_input: Json) -> list[ChildProcess]:
        """Starts the hooks that may decide a permission request; what they print decides it."""
        payload = self._payload("PermissionRequest", {"tool_name": tool, "tool_input": tool_input})
        return [self._start(command, payload) for command in self._commands.get("PermissionRequest", ())]

    def _payload(self, event: str, fields: Json) -> bytes:
        data = {**self._common, "hook_event_name": event, **fields}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

    def _start(self, command: str, payload: bytes) -> ChildProcess:
        return ChildProcess(("/bin/sh", "-c", command), os.environ, payload)


def decision_in(printed: bytes) -> tuple[bool, str] | None:
    """``(allow, message)`` when the text that a hook printed decides a permission request."""
    try:
        decision = json.loads(printed)["hookSpecificOutput"]["decision"]
        return decision["behavior"] == "allow", decision.get("message", "")
    except (ValueError, KeyError, TypeError):
        return None


def _commands(settings: Path | None) -> dict[str, list[str]]:
    if settings is None:
        return {}
    events = json.loads(settings.read_text(encoding="utf-8")).get("hooks", {})
    return {
        event: [run["command"] for group in groups for run in group["hooks"] if run["type"] == "command"]
        for event, groups in events.items()
    }


def _our_directory(command: str) -> str:
    """The directory that a command of our own hook program names; empty for any other command."""
    program, directory, _event = ["", "", "", *shlex.split(command)][-3:]
    return directory if program == str(Path(hook.__file__).resolve()) else ""
