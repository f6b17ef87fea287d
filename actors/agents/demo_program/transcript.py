"""Writes and reads the demo's transcript, in the form of Claude Code's."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_USAGE = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}


class Transcript:
    def __init__(self, path: Path, session_id: str, cwd: Path) -> None:
        self.path = path
        self._common = {"sessionId": session_id, "cwd": str(cwd), "version": "demo", "isSidechain": False}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

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
            "model": "demo",
            "content": [block],
            "usage": _USAGE,
        }
        self._append({"type": "assistant", "message": message, **more})

    def _append(self, line: Json) -> None:
        now = time.time()
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        record = {**self._common, **line, "uuid": str(uuid.uuid4()), "timestamp": at}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    def exchanges(self) -> list[tuple[str, str]]:
        """What was said so far: ``(type, text)`` of every plain prompt and answer."""
        said = []
        for line in self.path.read_bytes().split(b"\n"):
            if not line.strip():
                continue
            data = json.loads(line)
            content = data.get("message", {}).get("content")
            if data["type"] == "user" and isinstance(content, str):
                said.append(("user", content))
            elif data["type"] == "assistant" and content[0]["type"] == "text":
                said.append(("assistant", content[0]["text"]))
        return said
