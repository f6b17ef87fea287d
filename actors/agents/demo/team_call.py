"""One call of a tool of the team, as Claude Code makes it over HTTP; the demo runs it as a process.

Run as ``<python> -I -S team_call.py <mcp.json>`` with ``{"tool", "arguments", "toolUseId"}`` as JSON on standard input.
It prints what the tool answers, and ends with 1 when that is an error. A call whose answer was lost is made again with
the same id, so it is done once.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_PATIENCE_S = 100.0
"""How long a call is made again while nothing answers."""
_PAUSE_S = 0.2
_ANSWER_S = 3700.0
"""The longest wait for an answer."""
_SHOWN = 500
_SERVER_ERROR = 500


def main(config: str) -> int:
    """The exit status."""
    (server,) = json.loads(Path(config).read_text(encoding="utf-8"))["mcpServers"].values()
    call = json.load(sys.stdin)
    meta = {"claudecode/toolUseId": call["toolUseId"]}
    params = {"name": call["tool"], "arguments": call["arguments"], "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            status, answer = _post(server, body)
            said = f"the tools of the team answer with {status}: {answer[:_SHOWN]}"
            if status < _SERVER_ERROR:
                return _show(answer, said)
        except (OSError, http.client.HTTPException) as error:
            said = f"the tools of the team do not answer: {error!r}"
        if time.monotonic() > deadline:
            print(said)
            return 1
        time.sleep(_PAUSE_S)


def _post(server: dict[str, Any], body: bytes) -> tuple[int, str]:
    """Status and text of the answer. Raises ``OSError`` and ``HTTPException`` when there is no whole one."""
    url = urlsplit(server["url"])
    accepted = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_ANSWER_S)
    try:
        connection.request("POST", url.path, body, {**accepted, **server["headers"]})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _show(answer: str, otherwise: str) -> int:
    """Prints the result of the tool, or why there is none; the exit status."""
    try:
        message = json.loads(answer)
        result = message["result"]
    except (ValueError, KeyError):
        print(otherwise)
        return 1
    print("\n".join(part.get("text", "") for part in result["content"]))
    return int(bool(result.get("isError")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
