"""The demo's command line (the options of Claude Code that Phalanx uses) and environment; read once.

::

    PHALANX_DEMO_DIRECTORY        private directory for transcripts and logs; needed
    PHALANX_DEMO_START_S          seconds until the session starts and the input box is usable; 0
    PHALANX_DEMO_WORK_S           seconds that every turn takes at least; 0.05
    PHALANX_DEMO_HOOK_PROCESSES   1 runs a process for every hook, not only for permission requests
    PHALANX_DEMO_FAULTS           comma-separated: swallow-first-enter, trust-dialog, exit-at-start=STATUS,
                                  start-slow=SECONDS (between the report of the start and the usable input box)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

VARIABLES = frozenset(f"PHALANX_DEMO_{name}" for name in ("DIRECTORY", "START_S", "WORK_S", "HOOK_PROCESSES", "FAULTS"))
_WITH_VALUE = (
    "--session-id",
    "--resume",
    "--settings",
    "--mcp-config",
    "--append-system-prompt",
    "--model",
    "--permission-mode",
)
_ALONE = ("--strict-mcp-config",)
_DEFAULT_WORK_S = 0.05


class UsageError(Exception):
    """The program cannot start so; the text is what it prints."""


class DemoOptions(NamedTuple):
    session_id: str
    resume: bool
    settings: Path | None
    mcp_config: Path | None
    permission_mode: str

    directory: Path
    """Private directory: transcripts and logs."""
    cwd: Path
    start_s: float
    """Until the input box is usable."""
    work_s: float
    """What every turn takes at least."""
    hook_processes: bool
    """Run a process for every hook, as Claude Code does; otherwise only for permission requests."""
    faults: Mapping[str, str]


def read_options(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path) -> DemoOptions:
    """Raises ``UsageError``."""
    given = _pairs(arguments)
    session_id = given.get("--resume") or given.get("--session-id")
    directory = environment.get("PHALANX_DEMO_DIRECTORY")
    faults = environment.get("PHALANX_DEMO_FAULTS", "").split(",")
    if not session_id or not directory:
        raise UsageError("error: --session-id or --resume, and PHALANX_DEMO_DIRECTORY are needed")
    return DemoOptions(
        session_id=session_id,
        resume="--resume" in given,
        settings=Path(given["--settings"]) if "--settings" in given else None,
        mcp_config=Path(given["--mcp-config"]) if "--mcp-config" in given else None,
        permission_mode=given.get("--permission-mode", "default"),
        directory=Path(directory),
        cwd=cwd,
        start_s=float(environment.get("PHALANX_DEMO_START_S") or 0),
        work_s=float(environment.get("PHALANX_DEMO_WORK_S") or _DEFAULT_WORK_S),
        hook_processes=environment.get("PHALANX_DEMO_HOOK_PROCESSES") == "1",
        faults={name: value for name, _, value in (fault.partition("=") for fault in faults if fault)},
    )


def _pairs(arguments: Sequence[str]) -> dict[str, str]:
    rest = list(arguments)
    given: dict[str, str] = {}
    while rest:
        name = rest.pop(0)
        if name in _ALONE:
            continue
        if name not in _WITH_VALUE or not rest:
            raise UsageError(f"error: unknown option '{name}'")
        given[name] = rest.pop(0)
    return given
