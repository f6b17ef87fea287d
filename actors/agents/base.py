"""The seam between Phalanx and the program in the pane.

An ``Agent`` knows one kind of program: how it is started, what its hook events and transcript lines mean, and what its
screen shows. It holds no state and touches no process, so everything here is pure. The instance owns the running agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from actors.tmux.pane import Key, PaneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """All that the start of an agent depends on."""

    instance_id: str
    session_id: str
    """UUID of the conversation."""
    resume: bool
    """Continue the conversation ``session_id`` instead of beginning it."""
    instance_directory: Path
    """Private directory of the instance (0700): hook settings, spool, FIFOs."""
    system_prompt: str
    model: str | None = None
    permission_mode: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the team's environment; may hold secrets, so it never goes into ``argv``."""
    approvals: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the agent's program in which a person has approved something for this project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStart:
    """What a host needs to start an agent for the first time."""

    agent: str
    """Name of the kind of agent."""
    session_name: str
    working_directory: Path
    trusted_directories: tuple[Path, ...]
    """The agent is made to trust these and what is below them."""
    request: LaunchRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A spare agent, which waits at its prompt, is given to an instance."""

    place: str
    """Name of the spare's private directory, which the instance keeps."""
    session_name: str
    instance_id: str
    """Of the instance; its session is named so from now on."""
    identity: str
    """What the agent is told about itself with its first message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAgent:
    """One session of the home's tmux server."""

    session_name: str
    pane_id: str
    pid: int
    """0 where tmux does not tell that of a program that has ended."""
    alive: bool
    """The pane's process runs. False: only its last screen is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartedAgent:
    """An agent that was started again."""

    pane: PaneInfo
    resumed: bool
    """It goes on with its conversation; False: it had none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start the agent: the pane's own process and the files that it needs before."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[Path, str]
    """Content by path, all inside the instance's directory; written 0600."""


class EventKind(StrEnum):
    SESSION_STARTED = "session_started"
    PROMPT_SUBMITTED = "prompt_submitted"
    PERMISSION_REQUESTED = "permission_requested"
    TOOL_USED = "tool_used"
    """A tool has run, well or with an error."""
    TURN_ENDED = "turn_ended"
    TURN_FAILED = "turn_failed"
    ATTENTION = "attention"
    """The agent says that it waits for a person."""
    SESSION_ENDED = "session_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """One hook event in our words. Which fields are set depends on ``kind``."""

    kind: EventKind
    at: float
    """Seconds since the epoch, from the hook."""
    session_id: str
    text: str = ""
    """PROMPT_SUBMITTED: the exact prompt. TURN_ENDED: the answer. TURN_FAILED, ATTENTION, SESSION_ENDED: the reason."""
    rate_limited: bool = False
    """TURN_FAILED: the reason is a rate or usage limit."""
    tool: str = ""
    tool_input: Mapping[str, Any] = field(default_factory=dict)
    slimmed: bool = False
    """TOOL_USED: ``tool_input`` is left out, because it is long."""
    request_id: str = ""
    """PERMISSION_REQUESTED: names the waiting hook; see ``permission_answer``."""
    subagent: str = ""
    """PERMISSION_REQUESTED, TOOL_USED: id of the subagent that asks or did it; empty for the agent itself."""
    subagent_type: str = ""
    in_background: bool = False
    """TURN_ENDED: subagents go on working; the end of one starts a turn."""
    transcript_path: str = ""
    source: str = ""
    """SESSION_STARTED: startup, resume, clear, compact or fork."""
    agent_pid: int = 0
    """Process that ran the hook; 0 where an older hook did not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a tool call that waits."""

    allow: bool
    message: str
    """Denied: what to do instead. Allowed: the answer, where the tool asks a question."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Allowed, where the tool asks several questions: the answer to each, by its words."""
    tool: str
    tool_input: Mapping[str, Any]


class EntryKind(StrEnum):
    QUESTION = "question"
    ANSWER = "answer"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    NOTICE = "notice"
    """What the agent program itself says, for example that a turn was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUse:
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItem:
    """One thing said in the conversation, from the transcript. ``at`` is the transcript's ISO time."""

    kind: EntryKind
    at: str
    text: str
    tool: str = ""
    tool_input: Mapping[str, Any] = field(default_factory=dict)
    answer_id: str = ""
    """Groups the entries of one API answer; the same id carries the same ``tokens`` again."""
    tokens: TokenUse | None = None
    interrupted: bool = False
    """This notice says that the turn was interrupted."""
    refused: str = ""
    """This notice says why this prompt was refused and never became part of the conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedStatus:
    """What the agent's program writes about its own status."""

    session_id: str
    status: str
    """``idle``, ``busy``, ``waiting``, or ``shell``: idle while a command runs in the background."""
    waiting_for: str = ""
    """Waiting: for what, in the program's words."""

    @property
    def idle(self) -> bool:
        return self.status in {"idle", "shell"}

    @property
    def busy(self) -> bool:
        return self.status == "busy"

    @property
    def waiting(self) -> bool:
        return self.status == "waiting"


class Composer(StrEnum):
    EMPTY = "empty"
    DRAFT = "draft"
    ABSENT = "absent"
    """No input box can be made out: a dialog, a menu, start-up, or something unknown. Typing is not safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """A dialog or menu as the screen shows it."""

    kind: str = ""
    """Which dialog of the program it is, where we know it; empty for all others."""
    question: str = ""
    """Its words without the options, one line a row."""
    options: tuple[str, ...] = ()
    """What can be chosen, in the order shown, without numbers."""
    chosen: int | None = None
    """Index of the option that Enter would take; None when the screen does not tell."""
    keys: tuple[Key, ...] = ()
    """The key that takes each option, where each has one of its own and there is no pointer; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What one capture of the pane shows."""

    composer: Composer
    draft: str = ""
    scrolled: bool = False
    """Rows above the draft that is shown have scrolled out of the input box."""
    dialog: Dialog | None = None
    """A dialog or menu is recognised; with ``composer`` ABSENT and no dialog the screen is not understood."""
    busy: bool = False
    """The agent shows that a turn is under way."""
    trouble: str = ""
    """What a person should know: why no start comes to an end (trust asked, onboarding), or what goes wrong beside an
    input box (not logged in, an API that does not answer). Empty otherwise."""
    shown: str = ""
    """With ``composer`` ABSENT the last rows as text for people: at most 12 of 160 characters."""


class StatusSource(Protocol):
    """Where one process of the agent's program writes its own status."""

    def read(self) -> ReportedStatus | None:
        """What it says now; None when it says nothing that can be understood. Blocks for a file of some bytes."""
        ...

    def transcript_of(self, session_id: str) -> str:
        """Path of the transcript of a conversation; empty when it is not known."""
        ...


class Agent(Protocol):
    """One kind of program in the pane."""

    @property
    def name(self) -> str: ...

    def launch(self, request: LaunchRequest) -> Launch: ...

    def read_event(self, line: bytes) -> AgentEvent | None:
        """One line of the spool; None for what Phalanx does not use. Raises ``ValueError`` for a torn line."""
        ...

    def read_transcript(self, line: bytes) -> tuple[ConversationItem, ...]:
        """One line of the transcript. Raises ``ValueError`` for a torn line."""
        ...

    def read_screen(self, styled: str) -> Screen:
        """``styled`` is the visible pane as ``Pane.capture`` gives it, with its SGR sequences and the cursor."""
        ...

    def status_file(self, pid: int) -> StatusSource: ...

    def scrub_screen(self, styled: str) -> str:
        """A capture without the words of the conversation, to be shown as an example."""
        ...

    def permission_answer(self, decision: Decision) -> str:
        """What the waiting permission hook prints to decide its request, on one line."""
        ...
