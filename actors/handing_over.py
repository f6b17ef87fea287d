"""What makes of a spare agent the one of an instance, and of an instance one with a fresh conversation; for the host.

The agent was started before anybody knew for whom, so it is told who it is with its first message, by the hook that
reports that message; one that is started again later is told with its system prompt, as any other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from actors.agents.base import Handover
from actors.agents.hook import SPOOL_NAME, TELL_NAME, TOLD_NAME
from actors.errors import AgentError
from actors.files import write_private
from actors.messaging.journal import JOURNAL_NAME


def tell(directory: Path, request_file: Path, handover: Handover) -> None:
    """Raises ``AgentError`` when the spare is gone, ``SettingsError`` when its directory cannot be written."""
    try:
        saved = json.loads(request_file.read_text())
    except FileNotFoundError:
        raise AgentError(f"The spare agent {handover.place} is gone.") from None
    saved["session_name"] = handover.instance_id
    saved["request"].update(instance_id=handover.instance_id, system_prompt=handover.identity)
    write_private(request_file, json.dumps(saved))
    (directory / TOLD_NAME).unlink(missing_ok=True)
    output = {"hookEventName": "UserPromptSubmit", "additionalContext": handover.identity}
    write_private(directory / TELL_NAME, json.dumps({"hookSpecificOutput": output}) + "\n")


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
