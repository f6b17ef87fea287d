"""Own code beside libtmux and GitPython: their costs in pairs, and what each does when the library fails.

    python -m scripts.benchmarks.libraries

The table "Own code beside a library" of docs/architecture.md takes its figures from this output. The program uses a
tmux server and repositories of its own and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import libtmux
from git import Repo
from rich.console import Console
from rich.table import Table

from actors.errors import PhalanxError
from actors.git.process import GitRunner
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from actors.worktrees.source import find_source
from tests.projects import git

_PAIRS = 40
_SESSIONS = 20
_FILES = 200
_PATIENCE_S = 3.0
_SLEEP = ("sleep", "1000")

console = Console()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="phx") as place:
        base = Path(place)
        costs = Table("what", "own ms", "library ms", "ratio", title=f"medians of {_PAIRS} pairs")
        faults = Table("where", "own", "library")
        with _tmux(base) as (server, library):
            _measure_tmux(costs, server, library, base)
            _provoke_tmux(faults, server, library, base)
        _measure_git(costs, base)
        _provoke_git(faults, base)
        console.print(costs, faults)
    return 0


def _row(costs: Table, what: str, own: Callable[[], object], library: Callable[[], object]) -> None:
    """Both in turn, so that a drift of the machine's speed cancels out; the first pair warms up."""
    pairs = [(_took_ms(own), _took_ms(library)) for _ in range(_PAIRS + 1)][1:]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    costs.add_row(what, f"{ours:.2f}", f"{theirs:.2f}", f"{ratio:.1f}")


def _took_ms(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


@contextmanager
def _tmux(base: Path) -> Iterator[tuple[TmuxServer, libtmux.Server]]:
    server = TmuxServer(base / "tmux.sock", timeout_s=_PATIENCE_S)
    server.start({"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SHELL": "/bin/sh"})
    try:
        yield server, libtmux.Server(socket_path=base / "tmux.sock")
    finally:
        server.stop()


def _measure_tmux(costs: Table, server: TmuxServer, library: libtmux.Server, base: Path) -> None:
    agent = server.open_session("agent", _SLEEP, base)
    loop = asyncio.new_event_loop()
    tmux = TmuxClient(base / "tmux.sock")
    pane, theirs = Pane(tmux, agent.pane_id), library.panes[0]
    ask = ("display-message", "-p", "-t", agent.pane_id, "#{cursor_x}")
    _row(costs, "one tmux command", lambda: loop.run_until_complete(tmux.run(*ask)), lambda: library.cmd(*ask))
    _row(
        costs,
        "a look at a pane, styled, with its cursor",
        lambda: loop.run_until_complete(pane.capture(styled=True)),
        lambda: (theirs.capture_pane(escape_sequences=True), theirs.cmd("display-message", "-p", "#{cursor_x}")),
    )
    loop.close()
    _row(
        costs,
        "a session made and ended",
        lambda: _made_and_ended(server, base),
        lambda: library.new_session("theirs", start_directory=base, window_command="exec sleep 1000").kill(),
    )
    for number in range(_SESSIONS - 1):
        server.open_session(f"agent_{number}", _SLEEP, base)
    _row(costs, f"{_SESSIONS} sessions found", server.agents, lambda: library.panes)


def _made_and_ended(server: TmuxServer, base: Path) -> None:
    server.open_session("made", _SLEEP, base)
    server.close_session("made")


def _provoke_tmux(faults: Table, server: TmuxServer, library: libtmux.Server, base: Path) -> None:
    odd = {
        "an agent's title holds libtmux's separator": r"printf '\033]2;a\342\220\236b\007'",
        "an agent goes to a directory with a newline": "mkdir 'x\ny'; cd 'x\ny'",
    }
    for where, script in odd.items():
        server.open_session("odd", ("sh", "-c", f"{script}; touch '{base}/done'; exec sleep 1000"), base)
        while not (base / "done").exists():
            time.sleep(0.01)
        faults.add_row(where, _outcome(server.agents), _outcome(lambda: library.panes))
        server.close_session("odd")
        (base / "done").unlink()
    pid = server.pid() or 0
    os.kill(pid, signal.SIGSTOP)
    listing = f"import libtmux; libtmux.Server(socket_path={str(base / 'tmux.sock')!r}).panes"
    faults.add_row("the tmux server hangs", _outcome(server.agents), _outcome_of_program(listing))
    os.kill(pid, signal.SIGCONT)


def _measure_git(costs: Table, base: Path) -> None:
    plain = _repository(base / "plain")
    runner, repo = GitRunner(os.environ), Repo(plain)
    status = ("status", "--porcelain=v1", "-z")
    _row(costs, "one git command", lambda: runner.run(plain, "rev-parse", "HEAD"), lambda: repo.git.rev_parse("HEAD"))
    _row(costs, "what is changed", lambda: runner.run(plain, *status), lambda: repo.is_dirty(untracked_files=True))
    _row(
        costs, "repository, branch and commit of a directory", lambda: find_source(runner, plain), lambda: _facts(plain)
    )
    repo.close()


def _facts(directory: Path | str) -> tuple[object, ...]:
    with Repo(directory, search_parent_directories=True, expand_vars=False) as repo:
        return repo.working_tree_dir, repo.common_dir, repo.bare, repo.active_branch.name, repo.head.commit.hexsha


def _provoke_git(faults: Table, base: Path) -> None:
    def compare(where: str, directory: Path, variable: str = "") -> None:
        program = f"from scripts.benchmarks.libraries import _facts; _facts({str(directory)!r})"
        runner = GitRunner(os.environ)
        faults.add_row(where, _outcome(lambda: find_source(runner, directory)), _outcome_of_program(program, variable))

    compare("hashes of 64 digits", _repository(base / "long", "--object-format=sha256"))
    piped = _repository(base / "piped")
    compare("GIT_COMMON_DIR of this process is of another repository", piped, "GIT_COMMON_DIR")
    os.mkfifo(base / "pipe")
    with (piped / ".git/config").open("a") as configuration:
        configuration.write(f"[include]\npath = {base}/pipe\n")
    compare("the configuration includes a pipe", piped)


def _repository(directory: Path, *options: str) -> Path:
    directory.mkdir()
    git(directory, "init", "-q", *options)
    for number in range(_FILES):
        (directory / f"file-{number}").write_text(f"{number}\n")
    git(directory, "add", ".")
    git(directory, "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "-m", "Begin")
    return directory


def _outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except (PhalanxError, ValueError) as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    return "answers"


def _outcome_of_program(program: str, variable: str = "") -> str:
    """In a process of its own, because it may hang."""
    environment = {**os.environ, **({variable: "/nowhere"} if variable else {})}
    command = [sys.executable, "-c", program]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"hangs (ended after {_PATIENCE_S:g} s)"
    return "answers" if not done.returncode else done.stderr.strip().splitlines()[-1][:90]


if __name__ == "__main__":
    sys.exit(main())
