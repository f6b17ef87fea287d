"""An API stand-in on loopback that drives the real Claude Code CLI without a network.

It owns one HTTP server thread and speaks the part of the Messages API that Claude Code uses
(``POST /v1/messages`` as server-sent events, ``/v1/messages/count_tokens``). What it answers is decided by
the last user turn, so that a test writes its scenario into the message it sends:

- a line ``@@tool NAME {json input}`` is answered with that tool call (several lines: parallel calls);
- a line ``@@script NAME`` hands the turn to the script registered under that name (see ``ScriptStep``);
- a line ``@@slow SECONDS`` delays the answer;
- a line ``@@status CODE [WORDS]`` answers with that HTTP error; ``@@header NAME VALUE`` adds a header to the answer;
- a line ``@@next-status CODE`` answers the turn after this one with that HTTP error, which is not tried again;
- a line ``@@usage TOKENS`` says that the conversation so far is that many tokens long;
- a turn that only carries tool results is answered ``tool result: …`` (or by the running script's next step);
- Claude Code's request for a prompt suggestion is answered ``run the tests``;
- anything else is answered ``echo: `` and the last line of the turn's text.

Run as a program it prints its address and serves until it is told to stop:
``python -m tests.standin.api --port 0``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
ScriptStep = Callable[[list[Json]], Json]
"""Given the conversation so far (Messages API form), returns the next content block."""

_DIRECTIVE = re.compile(r"^@@(tool|script|slow|status|next-status|header|usage)[ \t]+(\S+)[ \t]*(.*)$", re.MULTILINE)


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def tool_block(name: str, tool_input: Json) -> Json:
    return {"type": "tool_use", "id": f"toolu_{time.monotonic_ns():x}", "name": name, "input": tool_input}


def _content_blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [text_block(content)] if isinstance(content, str) else list(content)


def turn_text(message: Json) -> str:
    """The text a person or a tool of ours typed in this turn, without Claude Code's own reminders.

    Claude Code merges turns that no answer separates, so what stands before an interruption is an older message.
    """
    typed: list[str] = []
    for block in _content_blocks(message):
        text = block.get("text", "")
        if text.startswith("[Request interrupted by user"):
            typed.clear()
        elif text and not text.lstrip().startswith("<system-reminder>"):
            typed.append(text)
    return "\n".join(typed)


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


def _typed_before(messages: list[Json], index: int) -> str:
    """The user turn that was typed before the one at this index; empty when there is none."""
    before = _last_typed_turn(messages[:index]) if index else 0
    return turn_text(messages[before]) if before < index and messages[before]["role"] == "user" else ""


@dataclass(slots=True)
class Answer:
    blocks: list[Json]
    delay_s: float = 0.0
    http_status: int = 200
    error: str = ""
    """Words of the HTTP error."""
    input_tokens: int = 10
    headers: dict[str, str] = field(default_factory=dict)

    def obey(self, kind: str, argument: str, rest: str) -> None:
        """Takes one directive that changes how, not what, is answered."""
        if kind == "slow":
            self.delay_s = float(argument)
        elif kind == "status":
            self.http_status = int(argument)
            self.error = rest
        elif kind == "header":
            self.headers[argument] = rest
        elif kind == "usage":
            self.input_tokens = int(argument)


@dataclass(slots=True)
class ApiStandIn:
    """The stand-in's behaviour and its record of what arrived; a context manager that serves at ``url``."""

    scripts: dict[str, list[ScriptStep]] = field(default_factory=dict)
    requests: list[Json] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> ApiStandIn:
        standin = self

        class Handler(_Handler):
            owner = standin

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def requests_with(self, words: str) -> list[Json]:
        """Those whose last typed turn has these words in it, in the order in which they came."""
        return [
            each
            for each in list(self.requests)
            if words in turn_text(each["messages"][_last_typed_turn(each["messages"])])
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Json) -> Answer:
        """Decides what to answer; pure but for the registered script steps."""
        messages = request["messages"]
        start = _last_typed_turn(messages)
        typed = turn_text(messages[start])
        tool_turns = [m for m in messages[start + 1 :] if m["role"] == "user" and tool_results(m)]
        answer = Answer([])
        for kind, argument, rest in _DIRECTIVE.findall(typed):
            if kind == "script":
                steps = self.scripts[argument]
                answer.blocks = [steps[min(len(tool_turns), len(steps) - 1)](messages)]
            elif kind == "tool":
                if not tool_turns:
                    answer.blocks.append(tool_block(argument, json.loads(rest or "{}")))
            else:
                answer.obey(kind, argument, rest)
        for kind, argument, _ in _DIRECTIVE.findall(_typed_before(messages, start)):
            if kind == "next-status":
                answer.http_status, answer.headers["x-should-retry"] = int(argument), "false"
        if not answer.blocks:
            answer.blocks = [_plain_answer(typed, tool_turns)]
        return answer


def _plain_answer(typed: str, tool_turns: list[Json]) -> Json:
    if tool_turns:
        return text_block("tool result: " + " | ".join(tool_results(tool_turns[-1])))
    if typed.lstrip().startswith("[SUGGESTION MODE"):
        return text_block("run the tests")
    # Newer versions close a long paste with a mark of their own.
    lines = [line for line in typed.splitlines() if line.strip() and not line.startswith("</pasted_content ")]
    return text_block("echo: " + (lines[-1][:200] if lines else ""))


def _start_and_deltas(block: Json) -> tuple[Json, list[Json]]:
    """A content block as the stream shows it: how it starts, and the pieces that follow."""
    if block["type"] == "text":
        pieces = [block["text"][:5], block["text"][5:]]
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in pieces]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


def _sse(request: Json, answer: Answer) -> Iterator[tuple[str, Json]]:
    stop_reason = "tool_use" if answer.blocks[-1]["type"] == "tool_use" else "end_turn"
    message = {
        "id": f"msg_{time.monotonic_ns():x}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "claude"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": answer.input_tokens, "output_tokens": 1},
    }
    yield "message_start", {"type": "message_start", "message": message}
    for index, block in enumerate(answer.blocks):
        start, deltas = _start_and_deltas(block)
        yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}
    yield "message_stop", {"type": "message_stop"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away (interrupted, killed) is part of the tests, not an error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    owner: ApiStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet: the record of requests is the log."""

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
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
        has_tools = bool(request.get("tools"))
        answer = self.owner.answer(request) if has_tools else Answer([text_block('{"title": "stand-in"}')])
        time.sleep(answer.delay_s)
        if answer.http_status != 200:
            kind = "rate_limit_error" if answer.http_status == 429 else "api_error"
            error = {
                "type": "error",
                "error": {"type": kind, "message": answer.error or f"stand-in says {answer.http_status}"},
            }
            self._send(answer.http_status, json.dumps(error).encode(), headers=answer.headers)
        else:
            self._stream(request, answer)

    def _stream(self, request: Json, answer: Answer) -> None:
        """Writes the events as they come; the connection's end is the body's end."""
        self.send_response(200)
        headers = {"content-type": "text/event-stream", "connection": "close", **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        for name, data in _sse(request, answer):
            self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one")
    with ApiStandIn(port=parser.parse_args().port) as standin:
        print(standin.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
