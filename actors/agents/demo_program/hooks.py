"""Runs the hooks of the demo's settings file as Claude Code does.

Every event is one JSON object on the hook's standard input. To run many demos cheaply, an event of our own hook program
is recorded in this process by that program's own code; a permission request always gets its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from pathlib import Path
from typing import Any

from actors.agents import hook
from actors.agents.demo_program.children import Child
from actors.agents.demo_program.options import Options

Json = dict[str, Any]

_OUR_WORDS = 3
"""Our command ends with the program's path, the directory and the event."""


class Hooks:
    def __init__(self, options: Options, transcript_path: Path) -> None:
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
        directories = map(_our_directory, self._commands.get("UserPromptSubmit", ()))
        ours = next(filter(None, directories), "")
        text = b"" if self._always_processes or not ours else hook.context(ours)
        if not text:
            return ""
        return str(json.loads(text)["hookSpecificOutput"]["additionalContext"])

    def ask(self, tool: str, tool_input: Json) -> list[Child]:
        """Starts the hooks that may decide a permission request; what they print decides it."""
        payload = self._payload("PermissionRequest", {"tool_name": tool, "tool_input": tool_input})
        return [self._start(command, payload) for command in self._commands.get("PermissionRequest", ())]

    def _payload(self, event: str, fields: Json) -> bytes:
        data = {**self._common, "hook_event_name": event, **fields}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

    def _start(self, command: str, payload: bytes) -> Child:
        return Child(("/bin/sh", "-c", command), os.environ, payload)


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
    program, directory, _ = ["", "", "", *shlex.split(command)][-_OUR_WORDS:]
    return directory if program == str(Path(hook.__file__).resolve()) else ""
