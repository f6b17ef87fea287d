"""The program that Claude Code runs for every hook event: puts the event into the instance's spool.

Run as ``exec <python> -I -S hook.py <instance directory> <event name>`` with the event's JSON on standard input. It
promises to end with status 0 and to print nothing but the answer to a permission request and, once, who a spare agent
is that was given away, whatever goes wrong: a hook that fails stops the agent. Its start is paid for every event, so it
imports only what is nearly free (``json`` alone would double its cost) and splices bytes instead of parsing them. What
it imports from ``spool`` is compiled already, as this program itself never is.

The demo program calls ``record`` in its own process instead of starting this one.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time

if "actors" not in sys.modules:  # started by its path: an isolated interpreter does not know where its packages are
    sys.excepthook = lambda *_: os._exit(0)
    sys.path.insert(0, __file__.rpartition("/actors/")[0])

from actors.agents.spool import PERMISSION_PREFIX, append, context, forget_told

_PARENT_CHECK_MS = 1000
_LONGEST_TOOL_EVENT_BYTES = 8192
_PIECE_BYTES = 65536
_SESSION_MARK = b"CLAUDE_CODE_SESSION_ID"
"""Variable that Claude Code gives to the hooks of a session, and does not have itself."""


def record(directory: str, event_name: str, payload: bytes, agent_pid: int, request_id: str = "") -> bool:
    """Appends the event of the agent with this process id and knocks.

    False for a payload that is no JSON object; nothing is written then.
    """
    line = _spool_line(event_name, payload, agent_pid, request_id)
    if not line:
        return False
    append(directory, line)
    if event_name == "SessionStart" and (b'"source":"clear"' in payload or b'"source":"compact"' in payload):
        forget_told(directory)
    return True


def _spool_line(event_name: str, payload: bytes, agent_pid: int, request_id: str) -> bytes:
    """The event on one line, with our keys spliced in behind its first brace; empty for what is no JSON object."""
    payload = payload.strip().replace(b"\n", b" ")
    if not (payload.startswith(b'{"') and payload.endswith(b"}")):
        return b""
    if event_name in ("PostToolUse", "PostToolUseFailure"):
        payload = _slimmed(payload)
    extra = f'"phalanx_at":{time.time():.6f},"phalanx_pid":{agent_pid},'
    if request_id:
        extra += f'"phalanx_request_id":"{request_id}",'
    return b"{" + extra.encode() + payload[1:]


def _slimmed(payload: bytes) -> bytes:
    """A tool event without what makes it long: first the tool's response, then its input, of which it says so."""
    for key, instead in ((b"tool_response", b""), (b"tool_input", b',"phalanx_slimmed":true')):
        if len(payload) > _LONGEST_TOOL_EVENT_BYTES:
            # Inside a JSON string these quotes would be escaped, so the match is a key.
            head, found, _ = payload.partition(b',"' + key + b'":')
            payload = head + instead + b"}" if found else payload
    return payload


def _ask(directory: str, event_name: str, payload: bytes, child: int, agent: int) -> None:
    """Records a permission request and waits until it is answered, released, or nobody waits for the answer."""
    request_id = os.urandom(16).hex()
    path = f"{directory}/{PERMISSION_PREFIX}{request_id}"
    os.mkfifo(path, 0o600)
    try:
        # The reading side is open before the event can be seen, so nobody can answer too early.
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        # The kernel frees the lock with this process: a free lock says that no hook waits any more.
        fcntl.flock(reader, fcntl.LOCK_SH)
        if record(directory, event_name, payload, agent, request_id):
            answer = _wait_for_answer(reader, path, child, agent)
            if answer:
                os.write(1, answer + b"\n")
    finally:
        os.unlink(path)  # noqa: PTH108 - pathlib would double the start-up cost


def _wait_for_answer(reader: int, path: str, child: int, agent: int) -> bytes:
    """The first line that is written; empty when the writer wrote nothing or the agent has ended its hook."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    answer = b""
    while _parent_of(child) == agent and os.access(path, os.F_OK):
        if not poll.poll(_PARENT_CHECK_MS):
            continue
        piece = os.read(reader, _PIECE_BYTES)
        answer += piece
        if not piece or b"\n" in piece:
            break
    return answer.partition(b"\n")[0]


def _run_by() -> tuple[int, int]:
    """The process that the agent started for this hook, and the agent.

    With CLAUDE_CODE_SHELL_PREFIX that process is a wrapper, and this one below it. What runs for a hook carries the
    mark of its session, as this process does; the agent itself carries none, or that of the one that it was run in.
    """
    session = os.environb.get(_SESSION_MARK)
    child, parent = os.getpid(), os.getppid()
    while session and _SESSION_MARK + b"=" + session in _read(f"/proc/{parent}/environ").split(b"\0"):
        child, parent = parent, _parent_of(parent)
    return child, parent


def _parent_of(pid: int) -> int:
    """0 for a process that is gone."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _read(path: str) -> bytes:
    """Empty for what cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would double the start-up cost
            return file.read()
    except OSError:
        return b""


def _main(directory: str, event_name: str) -> None:
    child, agent = _run_by()
    payload = sys.stdin.buffer.read()
    if event_name == "PermissionRequest":
        _ask(directory, event_name, payload, child, agent)
    else:
        record(directory, event_name, payload, agent)
        if event_name == "UserPromptSubmit":
            os.write(1, context(directory))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
    os._exit(0)
