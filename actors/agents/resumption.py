"""Whether an agent that has ended can go on with its conversation.

The host asks before it starts the agent again. Claude Code writes its transcript a moment after its hooks: one that was
killed early has left a file that holds no conversation yet. It refuses to resume such a file, and also to begin a
session anew while the file is there, so the file is put aside.
"""

from __future__ import annotations

from pathlib import Path

from actors.agents.base import Agent, EntryKind
from actors.following.tail import Tail

_ASIDE = ".unfinished"


def can_resume(agent: Agent, transcript_path: str) -> bool:
    """Whether the transcript holds a conversation; one that holds none is put aside. Raises ``OSError``."""
    path = Path(transcript_path)
    if not transcript_path or not path.is_file():
        return False
    if _holds_a_question(agent, path):
        return True
    path.replace(path.with_name(path.name + _ASIDE))
    return False


def _holds_a_question(agent: Agent, path: Path) -> bool:
    return any(_is_question(agent, line) for piece in Tail(path).pieces() for line in piece)


def _is_question(agent: Agent, line: bytes) -> bool:
    try:
        return any(entry.kind is EntryKind.QUESTION for entry in agent.read_transcript(line))
    except ValueError:
        return False
