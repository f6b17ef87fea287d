"""How an agent's start is prepared on its host: from nothing, from a spare, or from an ended conversation.

The host calls these functions before it runs the launcher. The launch file says what to start, as strings that each end
with a zero byte, as the kernel itself passes command lines: the launcher reads that without importing anything. All
functions block on files.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

from actors.agents import launcher
from actors.agents.base import Agent, EntryKind, Handover, Launch
from actors.agents.catalog import AgentCatalog
from actors.agents.spool import KNOCK_NAME, SPOOL_NAME, TELL_NAME, TOLD_NAME
from actors.errors import AgentError
from actors.files import replace_file, write_private
from actors.instance.journal import JOURNAL_NAME
from actors.instance.transcript import FileTail

LAUNCH_NAME = "launch"
REQUEST_NAME = "launch-request.json"
"""What the agent was last started for; the host keeps it in the instance's directory."""
_ASIDE = ".unfinished"
_NOT_INHERITED = (
    "AI_AGENT",
    "CLAUDECODE",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_EFFORT",
    "CLAUDE_ENV_FILE",
    "CLAUDE_PROJECT_DIR",
    "TRACEPARENT",
    "TMUX",
    "TMUX_PANE",
)
"""A Claude sets the first for what it starts; one that finds CLAUDE_CODE_CHILD_SESSION writes no transcript. Without
the last two a ``tmux kill-server`` of an agent does not end the team."""


def write_launch(instance_directory: Path, launch: Launch, working_directory: Path, *, python: str) -> tuple[str, ...]:
    """Writes all that the start needs, readable by its user only, and returns the command for the pane.

    May be called again for the same directory. Raises ``OSError``, and ``ValueError`` for what no process can be
    started with.
    """
    content = _content(launch, working_directory)
    instance_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    instance_directory.chmod(0o700)
    knock = instance_directory / KNOCK_NAME
    if not knock.is_fifo():
        os.mkfifo(knock, 0o600)
    for path, text in launch.files.items():
        replace_file(path, text)
    launch_file = instance_directory / LAUNCH_NAME
    replace_file(launch_file, content)
    return (python, "-I", "-S", str(Path(launcher.__file__).resolve()), str(launch_file))


def _content(launch: Launch, working_directory: Path) -> bytes:
    added = launch.environment
    head = f"{len(launch.argv)} {len(_NOT_INHERITED)} {len(added)}"
    words = (head, str(working_directory), *launch.argv, *_NOT_INHERITED, *chain.from_iterable(added.items()))
    if any("\0" in word for word in words):
        raise ValueError("a zero byte is in the command line or the environment")
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def tell(directory: Path, request_file: Path, handover: Handover, catalog: AgentCatalog) -> None:
    """Makes of a spare agent the agent of an instance.

    It was started before its instance was known, so it is told who it is with its first message; a later start tells it
    with its system prompt, as any other. Raises ``AgentError`` when the spare is gone or cannot be told,
    ``SettingsError`` when its directory cannot be written.
    """
    try:
        saved = json.loads(request_file.read_text())
    except FileNotFoundError:
        raise AgentError(f"The spare agent {handover.place} is gone.") from None
    introduction = catalog.named(saved["agent"]).introduction(handover.identity)
    if not introduction:
        raise AgentError(f"The agent {saved['agent']} cannot be told later who it is: order no spares of it.")
    saved["session_name"] = handover.instance_id
    saved["request"].update(instance_id=handover.instance_id, system_prompt=handover.identity)
    write_private(request_file, json.dumps(saved))
    (directory / TOLD_NAME).unlink(missing_ok=True)
    write_private(directory / TELL_NAME, introduction)


def renew(request_file: Path, session_id: str, system_prompt: str) -> None:
    """The next start begins another conversation. Raises ``AgentError`` when there was no start before.

    What was typed into the conversation before, and what its hooks have told, has ended with it: the journal would have
    it typed into this one again, and the spool would name the other one's transcript.
    """
    try:
        saved = json.loads(request_file.read_text())
    except FileNotFoundError:
        raise AgentError(f"{request_file.parent.name} was never started: spawn a new instance.") from None
    if saved["request"]["session_id"] != session_id:
        for name in (JOURNAL_NAME, SPOOL_NAME):
            (request_file.parent / name).unlink(missing_ok=True)
    saved["request"].update(session_id=session_id, system_prompt=system_prompt)
    write_private(request_file, json.dumps(saved))


def program_mark(command: str, environment: Mapping[str, str]) -> str:
    """Tells one installed program from the next one that takes its place; empty when it cannot be found."""
    found = shutil.which(command.split(maxsplit=1)[0] if command.split() else "", path=environment.get("PATH"))
    if found is None:
        return ""
    path = os.path.realpath(found)
    return f"{path} {Path(path).stat().st_mtime_ns}"


def can_resume(agent: Agent, transcript_path: str) -> bool:
    """Whether the transcript holds a conversation; one that holds none is put aside. Raises ``OSError``.

    Claude Code writes its transcript a moment after its hooks: one that was killed early has left a file without a
    conversation. It refuses to resume such a file, and also to begin a session anew while the file is there.
    """
    path = Path(transcript_path)
    if not transcript_path or not path.is_file():
        return False
    if _holds_a_question(agent, path):
        return True
    path.replace(path.with_name(path.name + _ASIDE))
    return False


def _holds_a_question(agent: Agent, path: Path) -> bool:
    for piece in FileTail(path).pieces():
        for line in piece:
            with suppress(ValueError):
                if any(entry.kind is EntryKind.QUESTION for entry in agent.read_transcript(line)):
                    return True
    return False
