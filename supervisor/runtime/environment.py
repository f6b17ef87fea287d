"""What must be true before a team is started, and the environment that each of its processes gets.

Agents get the caller's environment without what belongs to other programs; Ray gets little of it. Every process of a
team carries the mark ``TEAM_MARK``, by which it is found wherever it has moved to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import actors.ray_startup
import supervisor
from actors.errors import SettingsError
from actors.home import HOME_VARIABLE, Home, read_environment
from actors.marks import TEAM_MARK, UMASK_MARK
from actors.resting import REST_DIRECTORY
from supervisor.ray_processes.worker import DIRECTORY as WORKERS_DIRECTORY
from supervisor.settings import setting_variables

TOKEN_VARIABLE = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 - a path
TOKEN_FILE = Path(".ray") / "auth_token"
"""Below the user's home directory, where Ray looks for it."""
_FOREIGN_PREFIXES = ("RAY_", "REDIS_", "PHALANX_", "CLAUDE_BG_")
_DEMO_PREFIX = "PHALANX_DEMO_"
_TERMINAL_VARIABLES = frozenset({"TMUX", "TMUX_PANE", "STY", "COLUMNS", "LINES"})
_REPOSITORY_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""Git sets them in hooks, to say where it is. With them an agent's work would go into the caller's repository."""
_CLAUDE_VARIABLES = frozenset(
    {
        "AI_AGENT",
        "CLAUDECODE",
        "CLAUDE_AGENT_SDK_VERSION",
        "CLAUDE_CODE_AGENT",
        "CLAUDE_CODE_CHILD_SESSION",
        "CLAUDE_CODE_COORDINATOR_MODE",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CODE_EXECPATH",
        "CLAUDE_CODE_INVOKED_SKILLS",
        "CLAUDE_CODE_RESUME_INTERRUPTED_TURN",
        "CLAUDE_CODE_SESSION_ACCESS_TOKEN",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_SESSION_KIND",
        "CLAUDE_CODE_SESSION_LOG",
        "CLAUDE_CODE_SESSION_NAME",
        "CLAUDE_CODE_SSE_PORT",
        "CLAUDE_CODE_TASK_LIST_ID",
        "CLAUDE_EFFORT",
        "CLAUDE_ENV_FILE",
        "CLAUDE_PLUGIN_DATA",
        "CLAUDE_PLUGIN_ROOT",
        "CLAUDE_PROJECT_DIR",
        "TRACEPARENT",
    }
)
"""Claude Code sets them for its children. With CLAUDE_CODE_CHILD_SESSION an agent would keep no transcript."""
_RAY_VARIABLES = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TMPDIR",
        "TZ",
        "USER",
        HOME_VARIABLE,
        UMASK_MARK,
    }
)
RAY_SETTINGS: Mapping[str, str] = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ray's memory monitor kills our small actors when the agents fill memory.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    "RAY_worker_num_grpc_internal_threads": "1",
    # Nobody reads what Ray records of its handlers, tasks and processes. Each process would wake to pass it on.
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    # The raylet looks ten times a second at memory and disk, for objects that we hardly make.
    "RAY_raylet_check_gc_period_milliseconds": "1000",
    "RAY_local_fs_monitor_interval_ms": "1000",
    "RAY_ROTATION_MAX_BYTES": "16000000",
    "RAY_ROTATION_BACKUP_COUNT": "1",
    # Ray's autoscaler would serve its metrics to everybody. It goes on without, when it is given no port.
    "AUTOSCALER_METRIC_PORT": "-1",
    # Ray's processes write their titles without overwriting their environment, which holds the mark.
    "SPT_NOENV": "1",
}
"""For every Ray of a team, on one machine and on the hosts of a cluster."""
CLUSTER_SETTINGS: Mapping[str, str] = {
    # Ray takes a host for dead that is silent for 40 to 45 s, which is when the leases of its instances have run out
    # too (``supervisor.cluster.scheduler.FENCE_S``), or that is known to be unreachable for 10 to 15 s. Its own five
    # checks every 3 s, of 10 s each as well, take 62 to 65 s and 12 to 15 s.
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_period_ms": "5000",
}
"""For a Ray on several hosts. On one machine nothing is gained by it, and a machine may be slow."""
OLDEST_TMUX = (3, 2)
_ASK_TIMEOUT_S = 10.0


def check_programs(environment: Mapping[str, str]) -> None:
    """Raises ``SettingsError`` when tmux or git is missing or too old."""
    version = _first_line("tmux", "-V", environment)
    number = re.search(r"(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < OLDEST_TMUX:
        raise SettingsError(f"tmux is too old: {version}; 3.2 or newer is needed. Install a newer one.")
    _first_line("git", "--version", environment)


def _first_line(program: str, option: str, environment: Mapping[str, str]) -> str:
    path = shutil.which(program, path=environment.get("PATH", os.defpath))
    if path is None:
        raise SettingsError(
            f"{program} is missing: it is not on PATH. Install it with your system's package manager, for example "
            f"apt-get install {program}."
        )
    try:
        asked = subprocess.run(
            [path, option],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"{path} does not run: {error}. Install it anew.") from error
    if asked.returncode:
        raise SettingsError(f"{path} {option} fails: {asked.stderr.decode(errors='replace').strip()[:300]}")
    return asked.stdout.decode(errors="replace").strip()


def agent_environment(caller: Mapping[str, str], extra: Mapping[str, str], team_id: str) -> dict[str, str]:
    """The agents' environment: the caller's without foreign variables, plus ``extra`` and the mark."""
    kept = {name: value for name, value in caller.items() if not _is_foreign(name)}
    if "CLAUDECODE" in caller and kept.get("GIT_EDITOR") == "true":
        del kept["GIT_EDITOR"]
    return {**_without_environment(kept, own_virtual_environment()), **extra, TEAM_MARK: team_id}


def own_virtual_environment() -> Path | None:
    """The virtual environment that ``scripts/setup`` made in our checkout. Any other one where Phalanx was installed
    belongs to the user, perhaps to the project: agents keep it."""
    checkout = Path(supervisor.__file__).resolve().parent.parent
    prefix = Path(sys.prefix).resolve()
    return prefix if prefix.parent == checkout else None


def _without_environment(variables: Mapping[str, str], virtual_environment: Path | None) -> dict[str, str]:
    """The variables as if it had not been activated: an agent that calls python means its project's."""
    if virtual_environment is None:
        return dict(variables)
    kept = dict(variables)
    if Path(kept.get("VIRTUAL_ENV", "/")).resolve() == virtual_environment:
        del kept["VIRTUAL_ENV"]
        kept.pop("VIRTUAL_ENV_PROMPT", None)
    if "PATH" in kept:
        ours = virtual_environment / "bin"
        places = kept["PATH"].split(os.pathsep)
        kept["PATH"] = os.pathsep.join(each for each in places if not each or Path(each).resolve() != ours)
    return kept


def _is_foreign(name: str) -> bool:
    if name in _TERMINAL_VARIABLES | _REPOSITORY_VARIABLES | _CLAUDE_VARIABLES:
        return True
    if name.startswith("CLAUDE_CODE_") and name.endswith("_FILE_DESCRIPTOR"):
        return True
    return name.startswith(_FOREIGN_PREFIXES) and not name.startswith(_DEMO_PREFIX)


def stored_environment(home: Home) -> dict[str, str]:
    """The environment of this home's agents; empty when it is not known."""
    try:
        return read_environment(home)
    except SettingsError:
        return {}


def ray_environment(caller: Mapping[str, str], home: Home, team_id: str) -> dict[str, str]:
    """The environment of a Ray of the team's own and its workers."""
    return {
        **_every_ray_environment(caller, home),
        # Ray listens on loopback only, and connects to itself there, when it may not make clusters.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        TOKEN_VARIABLE: str(home.ray_token_file),
        REST_DIRECTORY: str(home.ray_directory),
        WORKERS_DIRECTORY: str(home.ray_directory),
        TEAM_MARK: team_id,
    }


def cluster_environment(caller: Mapping[str, str], home: Home) -> dict[str, str]:
    """The environment of a Ray on several hosts."""
    return {**_every_ray_environment(caller, home), **CLUSTER_SETTINGS, **kept_for_tls(caller)}


def joined_environment(caller: Mapping[str, str], home: Home) -> dict[str, str]:
    """The environment of the short-lived programs that speak to the cluster. Its token is the user's own."""
    token = caller.get(TOKEN_VARIABLE) or str(Path(caller.get("HOME", "/")) / TOKEN_FILE)
    return {**cluster_environment(caller, home), TOKEN_VARIABLE: token}


def _every_ray_environment(caller: Mapping[str, str], home: Home) -> dict[str, str]:
    return {**kept_for_ray(caller), **python_path(), **RAY_SETTINGS, HOME_VARIABLE: str(home.root)}


def kept_for_ray(caller: Mapping[str, str]) -> dict[str, str]:
    """The basics of the caller's environment and its settings; of its secrets only a password of Redis."""
    names = _RAY_VARIABLES | setting_variables()
    return {name: value for name, value in caller.items() if name in names or name.startswith("LC_")}


def kept_for_tls(caller: Mapping[str, str]) -> dict[str, str]:
    """The paths of the certificates by which Ray's processes in a cluster know each other."""
    return {name: value for name, value in caller.items() if name == "RAY_USE_TLS" or name.startswith("RAY_TLS_")}


def python_path() -> dict[str, str]:
    """The path that makes Ray's processes start fast, and find our packages if they are not installed beside Ray."""
    lean = Path(actors.ray_startup.__file__).resolve().parent
    packages = Path(supervisor.__file__).resolve().parent.parent
    installed = packages == Path(sysconfig.get_path("purelib")).resolve()
    return {"PYTHONPATH": os.pathsep.join(map(str, [lean] if installed else [lean, packages]))}
