"""A user's MCP server over stdio, which notes that it was started: ``python noting_server.py FILE``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(note: str) -> None:
    with Path(note).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **_answer(request)}), flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    match request["method"]:
        case "initialize":
            version = request["params"]["protocolVersion"]
            told = {"protocolVersion": version, "capabilities": {"tools": {}}}
            return {"result": {**told, "serverInfo": {"name": "noting", "version": "1"}}}
        case "tools/list":
            return {"result": {"tools": [{"name": "note", "inputSchema": {"type": "object"}}]}}
    return {"error": {"code": -32601, "message": "Method not found"}}


if __name__ == "__main__":
    main(sys.argv[1])
