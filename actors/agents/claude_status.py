"""Claude Code's own status file: what the program itself says of its status.

``<configuration>/sessions/<pid>.json`` is written by each interactive Claude Code and replaced as a whole. It is not
documented, so it is one witness among others: whatever is missing, unknown or another process's reads as None.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from actors.agents.base import OwnStatus

_KNOWN = frozenset({"idle", "busy", "waiting", "shell"})


class StatusFile:
    """Of one process. Reading is cheap while the file does not change: one ``stat``."""

    def __init__(self, pid: int, configuration: Path | None = None) -> None:
        """``configuration`` is Claude Code's directory; default: the one that the process's environment names."""
        self._pid = pid
        self._given = configuration
        self._configuration = configuration
        self._stamp: tuple[int, int] | None = None
        self._read: OwnStatus | None = None

    def read(self) -> OwnStatus | None:
        """What it says now; None when there is none, or none that can be understood."""
        if self._read is None:  # a process that has just been started takes on its environment a moment later
            self._configuration = self._given or _configuration_of(self._pid)
        if self._configuration is None:
            return None
        path = self._configuration / "sessions" / f"{self._pid}.json"
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if stamp != self._stamp:
                self._stamp, self._read = stamp, _own_status(path.read_bytes(), self._pid)
        except OSError:
            self._stamp = self._read = None
        return self._read

    def transcript_of(self, session_id: str) -> str:
        """Path of the transcript of this conversation; empty when there is none."""
        if self._configuration is None or not _is_plain(session_id):
            return ""
        try:
            return str(next(self._configuration.glob(f"projects/*/{session_id}.jsonl"), ""))
        except OSError:
            return ""


def _own_status(data: bytes, pid: int) -> OwnStatus | None:
    try:
        read = json.loads(data)
    except ValueError:
        return None
    if not isinstance(read, dict) or read.get("status") not in _KNOWN:
        return None
    started = read.get("procStart")
    if started is not None and str(started) != _start_ticks(pid):
        return None  # of a process that had this number before
    waiting_for = read.get("waitingFor")
    session_id = read.get("sessionId")
    return OwnStatus(
        session_id=session_id if isinstance(session_id, str) else "",
        status=read["status"],
        waiting_for=waiting_for if isinstance(waiting_for, str) else "",
    )


def _configuration_of(pid: int) -> Path | None:
    """Where this process keeps its configuration, by its environment."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    environment = dict(variable.partition(b"=")[::2] for variable in variables if variable)
    if given := environment.get(b"CLAUDE_CONFIG_DIR"):
        return Path(os.fsdecode(given))
    home = environment.get(b"HOME")
    return Path(os.fsdecode(home)) / ".claude" if home else None


def _start_ticks(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_plain(session_id: str) -> bool:
    return bool(session_id) and all(character.isalnum() or character == "-" for character in session_id)
