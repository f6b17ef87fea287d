"""The seam between Phalanx and the program in the pane.

An ``Agent`` knows one kind of program: how it is started, what its events and transcript lines mean, and what its
screen shows. It holds no state and touches no process; all but ``Agent.prepare`` is pure. The host starts the agent by
it and the instance, which owns the running agent, follows it. ``Agent`` says what a program must do to be one;
``AgentCatalog`` makes agents by name.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from actors.agents.names import AgentName
from actors.agents.styled import read_rows
from actors.errors import SettingsError
from actors.tmux.pane import Key, PaneInfo


def mode_named(permission_mode: str | None) -> str:
    """The permission mode in the word that every version of Claude Code takes. ``manual`` is another name of
    ``default``. None given means the same: versions differ in what they do then."""
    return "default" if permission_mode in {None, "manual"} else str(permission_mode)


def command_words(command: str, variable: str) -> list[str]:
    """The program and its arguments from the setting ``variable``. Raises ``SettingsError`` for a malformed command."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"{variable} cannot be {command!r}: {error}. Correct its quotes.") from None
    if not words:
        raise SettingsError(f"{variable} is blank: set it to the path or name of the program.")
    return words


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """All that the start of an agent depends on."""

    instance_id: str
    session_id: str
    """UUID of the conversation."""
    resume: bool
    """Continue the conversation ``session_id`` instead of beginning it."""
    instance_directory: Path
    """Private directory of the instance (0700): settings, and the files of ``actors.agents.spool``."""
    system_prompt: str
    model: str | None = None
    permission_mode: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the team's environment; may hold secrets, so it never goes into ``argv``."""
    approvals: Mapping[str, Any] = field(default_factory=dict)
    """Set by ``Agent.prepare``: settings of the program in which a person has approved something for this project."""
    token: str = ""
    """The agent's secret, by which the team knows its calls, the same in all its starts. Empty: it cannot call."""
    team_url: str = ""
    """Where its host serves the tools of the team over MCP; the host sets it at each start. Empty: nowhere."""
    mcp_servers: tuple[str, ...] | None = None
    """Which of the user's own MCP servers it gets, by name; None: all."""


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
    """One event of the spool in our words. Which fields are set depends on ``kind``."""

    kind: EventKind
    at: float
    """Seconds since the epoch, from who wrote the event."""
    session_id: str
    text: str = ""
    """PROMPT_SUBMITTED: the exact prompt. TURN_ENDED: the answer. TURN_FAILED, ATTENTION, SESSION_ENDED: the reason."""
    rate_limited: bool = False
    """TURN_FAILED: the reason is a rate or usage limit."""
    resets_at: float = 0.0
    """TURN_FAILED: when that limit ends, in seconds since the epoch; 0 where it is not told."""
    tool: str = ""
    tool_input: Mapping[str, Any] = field(default_factory=dict)
    slimmed: bool = False
    """TOOL_USED: ``tool_input`` is left out, because it is long."""
    request_id: str = ""
    """PERMISSION_REQUESTED: 32 hexadecimal digits. Who waits does so on the FIFO ``PERMISSION_PREFIX`` names."""
    subagent: str = ""
    """PERMISSION_REQUESTED, TOOL_USED: id of the subagent that asks or did it; empty for the agent itself."""
    subagent_type: str = ""
    in_background: bool = False
    """TURN_ENDED: subagents go on working; the end of one starts a turn."""
    transcript_path: str = ""
    """Where the transcript is; each event may tell, and one must unless the program's ``StatusSource`` knows."""
    source: str = ""
    """SESSION_STARTED: startup, resume, clear, compact or fork."""
    agent_pid: int = 0
    """Process of the agent; 0 where it is not told, then ``session_id`` decides whether the event is the agent's."""


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

    @property
    def counted(self) -> int:
        """What counts against a limit: all that was new. Each request reads the conversation before it from the cache
        again, at a tenth of the price, so that counting this too would measure how often an agent asks."""
        return self.input_tokens + self.output_tokens + self.cache_creation_tokens

    def plus(self, other: TokenUse) -> TokenUse:
        return TokenUse(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_creation_tokens=self.cache_creation_tokens + other.cache_creation_tokens,
        )

    def minus(self, other: TokenUse) -> TokenUse:
        return TokenUse(
            input_tokens=self.input_tokens - other.input_tokens,
            output_tokens=self.output_tokens - other.output_tokens,
            cache_read_tokens=self.cache_read_tokens - other.cache_read_tokens,
            cache_creation_tokens=self.cache_creation_tokens - other.cache_creation_tokens,
        )

    def at_least(self, other: TokenUse) -> TokenUse:
        """Of each number the larger one."""
        return TokenUse(
            input_tokens=max(self.input_tokens, other.input_tokens),
            output_tokens=max(self.output_tokens, other.output_tokens),
            cache_read_tokens=max(self.cache_read_tokens, other.cache_read_tokens),
            cache_creation_tokens=max(self.cache_creation_tokens, other.cache_creation_tokens),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationItem:
    """One thing said in the conversation, from the transcript. ``at`` is the transcript's ISO time."""

    kind: EntryKind
    at: str
    text: str
    tool: str = ""
    tool_input: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    """That gave this answer, as the program names it; empty where it is not told."""
    directory: str = ""
    """In which the program worked."""
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
    """Which dialog of the program it is, where we know it; empty for all others. In those of the kinds ``permission``,
    ``question`` and ``plan`` the interrupt key stops the turn that asks."""
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
    """The agent shows that a turn is under way. Without this sign events alone tell, and nothing can be interrupted."""
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


class NoStatusFile:
    """The ``StatusSource`` of a program that writes none."""

    def read(self) -> ReportedStatus | None:
        return None

    def transcript_of(self, session_id: str) -> str:
        return ""


class Agent(Protocol):
    """One kind of program in the pane. What has a body here is for programs that can do more; a plain one inherits it.

    **Events.** The program, or its hook, appends them to ``SPOOL_NAME`` in the instance's directory with
    ``spool.append``, or does the same: one line each, then a knock. Without the knock status lags up to two seconds.
    Needed: PROMPT_SUBMITTED and TURN_ENDED (or TURN_FAILED). SESSION_STARTED is needed where the command is not the
    program itself but starts it: it tells which process the agent is.

    **Transcript.** The file that proves what arrived, one line a record. Its path comes with any event
    (``transcript_path``), or from ``StatusSource.transcript_of``; until then nothing is proved. The event of a prompt
    must be in the spool before its line is in the transcript: a message would else count as arrived, and the agent
    still as ready. The end of a turn may come before the transcript shows its answer. Each prompt is one QUESTION that
    holds the header lines of its messages (``inbox.compose``). The file stays for ``resume`` and may lie anywhere; one
    in the instance's directory goes when that is cleared away.

    **Terminal.** The program runs in raw mode while it reads keys: a pane in line mode counts as stopped (see
    ``styled``, cursor row 0). It takes bracketed paste, in which newlines come as carriage returns, keeps them as
    newlines of the draft, sends on Enter, and C-c clears the draft without ending it. Between turns it draws its input
    box, with the whole draft or its end. Of Claude Code's ways with long pastes and paths of images ``inbox`` and
    ``evidence`` know; another program need not have them.

    **Sources of status** (``actors.instance.state``): the process, the events of turns and the screen's input box are
    needed. Permission requests, the status file, and a screen that shows work or dialogs are optional.
    """

    __slots__ = ()

    @property
    def name(self) -> AgentName: ...

    @property
    def program(self) -> str:
        """The command whose first word is the program: when that file changes, spares of it are made anew."""
        ...

    @property
    def memory_mb(self) -> int | None:
        """Most memory that one takes with its actor, in MB. None: as the setting ``agent_memory_mb`` says."""
        return None

    @property
    def interrupt_key(self) -> Key | None:
        """The key that stops a turn; it needs ``Screen.busy``. None: a turn cannot be stopped."""
        return None

    def prepare(self, start: AgentStart, environment: Mapping[str, str]) -> LaunchRequest:
        """The request to ``launch``, after the program's own files were made to allow the start.

        Called on the host in a thread before each start; ``environment`` is the team's. The one member that may write
        files and block, at most some 15 seconds. Raises ``AgentError``.
        """
        return start.request

    def check(self, start: AgentStart, environment: Mapping[str, str]) -> None:
        """Whether this host has what the request names; called in a thread before the first start only.

        Blocks for some files. Raises ``InvalidRequestError``. A later start goes on without what is gone by then.
        """
        return

    def launch(self, request: LaunchRequest) -> Launch:
        """Raises ``InvalidRequestError`` for a model or mode that is none, ``SettingsError`` for the command."""
        ...

    def introduction(self, identity: str) -> str:
        """What ``TELL_NAME`` holds, so that a spare's program learns with its next prompt who it is.

        The program, or its hook, renames the file to ``TOLD_NAME`` when it has read it, and back when its conversation
        is cleared. Empty: it cannot be told, so it cannot be a spare.
        """
        return ""

    def read_event(self, line: bytes) -> AgentEvent | None:
        """One line of the spool; None for what Phalanx does not use. Raises ``ValueError`` for a torn line."""
        ...

    def read_transcript(self, line: bytes) -> tuple[ConversationItem, ...]:
        """One line of the transcript. Raises ``ValueError`` for a torn line."""
        ...

    def subagent_transcripts(self, transcript: Path) -> Iterable[Path]:
        """Files in which subagents of this conversation write their own, for the tokens that they use. They are read
        by ``read_usage``."""
        return ()

    def read_usage(self, line: bytes) -> tuple[str, TokenUse] | None:
        """The id of an answer and its tokens, from one line of a subagent's transcript. Raises ``ValueError`` for a
        torn line."""
        return None

    def context_window(self, model: str) -> int | None:
        """How many tokens this model takes, with its answer; None where that is not known for certain."""
        return None

    def read_screen(self, styled: str) -> Screen:
        """``styled`` is the visible pane as ``Pane.look`` gives it: with SGR sequences, and the cursor at the end.

        Cursor row 0 says that no program reads keys there. See ``styled.read_capture``.
        """
        ...

    def scrub_screen(self, styled: str) -> str:
        """A capture without the words of the conversation, to be shown as an example."""
        return "\n".join("x" * len(row.text) for row in read_rows(styled))

    def status_file(self, pid: int) -> StatusSource:
        return NoStatusFile()

    def permission_answer(self, decision: Decision) -> str:
        """What is written, on one line, to the FIFO of a permission request to decide it."""
        return ""
