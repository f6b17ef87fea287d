"""An API stand-in on loopback that drives the real Claude Code CLI without a network.

It owns one HTTP server thread and speaks the part of the Messages API that Claude Code uses
(``POST /v1/messages`` as server-sent events, ``/v1/messages/count_tokens``). What it answers is decided by the
last user turn, so that a test writes its scenario into the message it sends:

- a line ``@@tool NAME {json input}`` is answered with that tool call;
- a line ``@@script NAME`` hands the turn to the script registered under that name (see ``ScriptStep``);
- a line ``@@slow SECONDS`` delays the answer;
- a line ``@@status CODE`` answers with that HTTP error;
- a turn that only carries tool results is answered ``tool result: …`` (or by the running script's next step);
- anything else is answered ``echo: `` and the last line of the turn's text.

Run as a program it serves until it is told to stop and prints its address: ``python -m tests.standin.api --port 0``.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
ScriptStep = Callable[[list[Json]], Json]
"""Given the conversation so far (Messages API form), returns the next content block."""

_DIRECTIVE = re.compile(r"^@@(tool|script|slow|status)\s+(\S+)\s*(.*)$", re.MULTILINE)


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def tool_block(name: str, tool_input: Json) -> Json:
    return {"type": "tool_use", "id": f"toolu_{time.monotonic_ns():x}", "name": name, "input": tool_input}


def _content_blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [text_block(content)] if isinstance(content, str) else list(content)


def _is_noise(text: str) -> bool:
    """Text that Claude Code itself puts into a user turn."""
    return text.lstrip().startswith(("<system-reminder>", "[Request interrupted by user"))


def turn_text(message: Json) -> str:
    """The text a person or a tool of ours typed in this turn, without Claude Code's own reminders."""
    texts = [b["text"] for b in _content_blocks(message) if b.get("type") == "text"]
    return "\n".join(t for t in texts if not _is_noise(t))


def tool_results(message: Json) -> list[str]:
    found = []
    for block in _content_blocks(message):
        if block.get("type") == "tool_result":
            content = block.get("content", "")
            if isinstance(content, list):
                content = "\n".join(part.get("text", "") for part in content)
            found.append(content)
    return found


def _last_typed_turn(messages: list[Json]) -> int:
    """Index of the last user turn that was typed, as opposed to one that only returns tool results."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message["role"] == "user" and turn_text(message).strip():
            return index
    return 0


@dataclass(slots=True)
class Answer:
    block: Json
    delay_s: float = 0.0
    http_status: int = 200


@dataclass(slots=True)
class ApiStandIn:
    """The stand-in's behaviour and its record of what arrived. Use as a context manager; ``url`` is its address."""

    scripts: dict[str, list[ScriptStep]] = field(default_factory=dict)
    requests: list[Json] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> ApiStandIn:
        standin = self

        class Handler(_Handler):
            owner = standin

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Json) -> Answer:
        """Decides what to answer; pure but for the registered script steps."""
        messages = request["messages"]
        start = _last_typed_turn(messages)
        typed = turn_text(messages[start])
        answer = Answer(text_block("ok"))
        tool_turns = [m for m in messages[start + 1 :] if m["role"] == "user" and tool_results(m)]
        for kind, argument, rest in _DIRECTIVE.findall(typed):
            if kind == "slow":
                answer.delay_s = float(argument)
            elif kind == "status":
                answer.http_status = int(argument)
            elif kind == "script":
                steps = self.scripts[argument]
                answer.block = steps[min(len(tool_turns), len(steps) - 1)](messages)
                return answer
            elif kind == "tool" and not tool_turns:
                answer.block = tool_block(argument, json.loads(rest or "{}"))
                return answer
        if tool_turns:
            answer.block = text_block("tool result: " + " | ".join(tool_results(tool_turns[-1])))
        else:
            lines = [line for line in typed.splitlines() if line.strip()]
            answer.block = text_block("echo: " + (lines[-1][:200] if lines else ""))
        return answer


def _sse(request: Json, block: Json) -> Iterator[tuple[str, Json]]:
    stop_reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
    message = {
        "id": f"msg_{time.monotonic_ns():x}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "claude"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    yield "message_start", {"type": "message_start", "message": message}
    if block["type"] == "text":
        start: Json = {"type": "text", "text": ""}
        delta: Json = {"type": "text_delta", "text": block["text"]}
    else:
        start = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": start}
    yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    yield (
        "message_delta",
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
    )
    yield "message_stop", {"type": "message_stop"}


class _Handler(BaseHTTPRequestHandler):
    owner: ApiStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet: the record of requests is the log."""

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._send(200, b"")

    def do_GET(self) -> None:
        self._send(404, b'{"type":"error","error":{"type":"not_found_error","message":"stand-in"}}')

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._send(200, b'{"input_tokens": 10}')
            return
        if not path.endswith("/messages"):
            self._send(404, b"{}")
            return
        self.owner.requests.append(request)
        if not request.get("tools"):
            answer = Answer(text_block('{"title": "stand-in"}'))
        else:
            answer = self.owner.answer(request)
        if answer.delay_s:
            time.sleep(answer.delay_s)
        if answer.http_status != 200:
            kind = "rate_limit_error" if answer.http_status == 429 else "api_error"
            error = {"type": "error", "error": {"type": kind, "message": f"stand-in says {answer.http_status}"}}
            self._send(answer.http_status, json.dumps(error).encode())
            return
        body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in _sse(request, answer.block))
        self._send(200, body.encode(), "text/event-stream")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one")
    with ApiStandIn(port=parser.parse_args().port) as standin:
        print(standin.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
