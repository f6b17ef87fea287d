"""Reading and answering as Claude Code does it, which is the same for every agent that behaves like it."""

from __future__ import annotations

from actors.agents.base import AgentEvent, Decision, Entry, Screen
from actors.agents.claude_events import read_event
from actors.agents.claude_screen import read_screen
from actors.agents.claude_scrubbing import scrubbed
from actors.agents.claude_status import StatusFile
from actors.agents.claude_transcript import read_transcript
from actors.agents.permissions import decision_text


class ClaudeRecord:
    """The reading half of an ``Agent``; see there."""

    __slots__ = ()

    def read_event(self, line: bytes) -> AgentEvent | None:
        return read_event(line)

    def read_transcript(self, line: bytes) -> tuple[Entry, ...]:
        return read_transcript(line)

    def read_screen(self, styled: str) -> Screen:
        return read_screen(styled)

    def scrub_screen(self, styled: str) -> str:
        return scrubbed(styled)

    def status_file(self, pid: int) -> StatusFile:
        return StatusFile(pid)

    def permission_answer(self, decision: Decision) -> str:
        return decision_text(decision)
