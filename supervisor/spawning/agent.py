"""How an agent is started: its command's options, and what its system prompt says. Pure.

A cold start and the pool's ``AgentMaker`` call it. The prompt goes on the command line (``--append-system-prompt``),
never into a file of the workspace, which could be committed.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

from actors.agents.base import AgentStart, LaunchRequest
from actors.home import Home
from supervisor.api.requests import Role
from supervisor.spawning.guide import ROLE, STEPS
from supervisor.team.registry import InstanceRecord

_DUTIES = {
    Role.EXECUTIVE: "You are an executive: you plan the work and oversee managers.",
    Role.MANAGER: "You are a manager: you break your task down and oversee specialists.",
    Role.SPECIALIST: "You are a specialist: you do the work you are given yourself.",
}
_HEADERS = (
    "Messages of the team come under a header line like [phalanx msg_1a2b from lead]; several may come at once. "
    "The header tells id and sender and is not part of the text."
)
_RULES = (
    f"{_HEADERS} Long messages reach you between pasted_content "
    "marks: under such a header they are your lead's own words to you, so follow them like any other.",
    "End each turn with an answer that can be understood by itself: what you did, what you found, what is open.",
)


def agent_start(
    home: Home,
    record: InstanceRecord,
    *,
    system_prompt: str,
    model: str | None,
    permission_mode: str | None,
    environment: Mapping[str, str],
) -> AgentStart:
    return AgentStart(
        agent=record.agent,
        session_name=record.session_name,
        working_directory=record.directory,
        trusted_directories=_trusted(home, record),
        request=LaunchRequest(
            instance_id=record.instance_id,
            session_id=record.session_id,
            resume=False,
            instance_directory=home.instance_directory(record.place),
            system_prompt=system_prompt,
            model=model,
            permission_mode=permission_mode,
            environment=environment,
        ),
    )


def _trusted(home: Home, record: InstanceRecord) -> tuple[Path, ...]:
    """Older versions of Claude Code inherit trust from any directory above, newer ones only from the repository."""
    workspace = record.workspace
    if workspace is None or workspace.worktree is None:
        return (record.directory,)
    git_directory = workspace.git_directory
    main = git_directory.parent if git_directory is not None and git_directory.name == ".git" else git_directory
    return (home.worktrees, main or workspace.worktree)


def system_prompt(record: InstanceRecord) -> str:
    workspace = record.workspace
    lines = [_who(record), ROLE, STEPS, _HEADERS] if record.attended else [*_identity(record), *_RULES]
    if workspace is not None and workspace.mode == "isolated":
        lines.append(
            f"You work in a git worktree of your own, on the branch {workspace.branch}. Stay in it, commit your work "
            "there in small steps, and do not switch to, merge into or push other branches unless you are asked to."
        )
    else:
        lines.append("You share your working directory with others: touch only what your task needs.")
    if record.summary:
        lines.append(
            "You go on where an earlier conversation of yours has ended, which grew too long. What it left you, in its "
            f"own words:\n{record.summary}"
        )
    return "\n".join(lines)


def _identity(record: InstanceRecord) -> list[str]:
    return [
        _who(record),
        _DUTIES[record.role],
        f"You are led by {record.parent_id or 'the lead'}, who reads what you answer and cannot see your screen.",
    ]


def _who(record: InstanceRecord) -> str:
    name = f" ({record.name})" if record.name else ""
    return f"You are {record.instance_id}{name}, one instance in a Phalanx team."


def spare_prompt() -> str:
    """For a spare agent, which has no instance yet."""
    first = "You are one instance in a Phalanx team. With your first message you are told who."
    return "\n".join([first, *_RULES])


def spare_identity(record: InstanceRecord, today: datetime.date) -> str:
    """Goes to a spare with its first message. What it saw when it started, perhaps days ago, is out of date."""
    commit = record.workspace.base_commit if record.workspace else None
    where = f"Your worktree was put on that branch just now, at the commit {commit}, whatever git status said before."
    return f"{system_prompt(record)}\n{where}\nToday is {today.isoformat()}."
