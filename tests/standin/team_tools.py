"""An MCP server over HTTP in place of the team's own: it notes who calls it with which token.

It speaks as much of MCP as Claude Code needs of a server without sessions, and answers each call of a tool with its
arguments. A context manager that serves at ``url``; once ended, it may be begun again at the same port.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]


@dataclass(slots=True)
class TeamToolsStandIn:
    token: str = ""
    """Who comes with another one is refused; empty: nobody is."""
    tools: tuple[str, ...] = ("send", "list")
    read_only: frozenset[str] = frozenset({"list"})
    port: int = 0
    calls: list[Json] = field(default_factory=list)
    """The parameters of each call of a tool."""
    methods: list[str] = field(default_factory=list)
    """Of all requests, in the order in which they came."""
    refused: int = 0
    drops: int = 0
    """So many calls are carried out, and their answers are lost."""
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def __enter__(self) -> Self:
        standin: TeamToolsStandIn = self

        class Handler(_Handler):
            owner = standin

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Json, token: str) -> Json | None:
        """The result of this request, which came with this token; None for a method that it has not."""
        self.methods.append(request["method"])
        match request["method"]:
            case "initialize":
                return {
                    "protocolVersion": request["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "stand-in", "version": "1"},
                }
            case "tools/list":
                return {"tools": list(map(self._described, self.tools))}
            case "tools/call":
                self.calls.append(request["params"])
                text, failed = self.act(request["params"], token)
                return {"content": [{"type": "text", "text": text}], "isError": failed}
            case "ping":
                return {}
        return None

    def _described(self, name: str) -> Json:
        hints = {"readOnlyHint": True} if name in self.read_only else {}
        return {"name": name, "inputSchema": {"type": "object"}, "annotations": hints}

    def act(self, call: Json, token: str) -> tuple[str, bool]:
        """What the tool says, and whether that is an error. Runs in a thread of the server."""
        return f"done: {json.dumps(call['arguments'])}", False


class _Handler(BaseHTTPRequestHandler):
    owner: TeamToolsStandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(405)

    def do_DELETE(self) -> None:
        self._send(405)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if self.owner.token not in ("", token):
            self.owner.refused += 1
            self._send(401)
        elif "id" not in request:
            self._send(202)
        else:
            result = self.owner.answer(request, token)
            if request["method"] == "tools/call" and self.owner.drops:
                self.owner.drops -= 1
                self.close_connection = True
                return
            error = {"error": {"code": -32601, "message": "Method not found"}}
            outcome = error if result is None else {"result": result}
            self._send(200, {"jsonrpc": "2.0", "id": request["id"], **outcome})

    def _send(self, status: int, body: Json | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Tests print what they need."""
