"""How the agent of an instance is started: what its record says, and what was wished for it. Pure.

Used by whoever starts one from nothing: ``cold_start`` and the maker of the pool's spares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.agents.base import AgentStart, LaunchRequest
from actors.home import Home
from supervisor.team.registry import InstanceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    system_prompt: str
    model: str | None
    permission_mode: str | None
    environment: Mapping[str, str]


def agent_start(home: Home, record: InstanceRecord, wishes: Wishes) -> AgentStart:
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
            system_prompt=wishes.system_prompt,
            model=wishes.model,
            permission_mode=wishes.permission_mode,
            environment=wishes.environment,
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
