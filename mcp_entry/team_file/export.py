"""Writes a team that runs as a file that ``phalanx team up`` compares with it without a difference. Pure.

It holds no token, no variable's value and no text: variables may be secrets, and the team does not keep first messages.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from supervisor.api.requests import Role
from supervisor.api.results import InstanceDescription

_HEAD = """\
# A team of Phalanx, see docs/team-file.md. `phalanx team up FILE` starts what is missing of it.
# Written from a team that ran: to start a member give it context, its first message, or promptFile. Environment
# variables are not in it.
"""


def exported(team: Sequence[InstanceDescription], directory: Path | None) -> str:
    """The text of the file. ``directory``: where it will lie; None leaves all paths absolute."""
    names = {each.instance_id: each.name or each.instance_id for each in team}
    members = [dict(_member(each, names, directory)) for each in team]
    written: str = yaml.safe_dump({"members": members}, sort_keys=False, allow_unicode=True, width=120)
    return _HEAD + written


def _member(each: InstanceDescription, names: dict[str, str], directory: Path | None) -> Iterator[tuple[str, Any]]:
    yield "name", names[each.instance_id]
    yield "role", Role(each.role).value
    if each.parent_id in names:
        yield "parent", names[each.parent_id]
    yield "agent", each.agent
    yield "workDir", _path(each.work_dir, directory)
    yield from each.asked.items()


def _path(work_dir: str, directory: Path | None) -> str:
    inside = directory is not None and Path(work_dir).is_relative_to(directory)
    return os.path.relpath(work_dir, directory) if inside else work_dir
