"""Processes of a team: finding them by an environment mark, ending them, and the signals and limits that they inherit.

The runtime uses this for everything of a team, the host for everything of an instance. A mark is inherited by every
descendant and survives a change of session or parent, which a tree of parents does not. Linux only; every function
blocks. Promises: a process id that now belongs to another process is never signalled (a process is known by its id and
start time), and neither are the calling process and its ancestors.
"""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_KILL_WAIT_S = 5.0
_SWEEPS = 5
_POLL_S = 0.02
_OPEN_FILES = 65_536


def processes_with(name: str, value: str) -> list[psutil.Process]:
    """The processes with ``name=value`` in their environment, and all their descendants: a program that writes its own
    title may overwrite its visible environment."""
    running = {process.pid: process for process in psutil.process_iter()}
    found = {pid for pid, process in running.items() if mark_of(process, name) == value}
    parents = {pid: _parent(process) for pid, process in running.items()}
    children = [pid for pid in running if _is_below(pid, found, parents)]
    return [running[pid] for pid in sorted({*found, *children})]


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def _is_below(pid: int, found: Container[int], parents: Mapping[int, int]) -> bool:
    seen = set()
    while (pid := parents.get(pid, 0)) and pid not in seen:
        if pid in found:
            return True
        seen.add(pid)
    return False


def mark_of(process: psutil.Process, name: str) -> str | None:
    """The variable in the process's start environment; None when absent or not readable."""
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None


def name_of(process: psutil.Process) -> str:
    """The name of its program; empty when it has ended."""
    with suppress(psutil.Error):
        return process.name()
    return ""


def own_umask() -> str:
    """This process's umask, in octal. The system call would change it for a moment, for every thread."""
    status = Path("/proc/self/status").read_text()
    return next((line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), "0022")


def is_running(process: psutil.Process) -> bool:
    """Whether this very process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_processes(processes: Iterable[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """Sends SIGTERM and kills what still runs after ``grace_s``; 0 kills at once.

    Returns the survivors. Never touches the calling process and its ancestors.
    """
    ours = {psutil.Process(), *psutil.Process().parents()}
    left = [process for process in processes if process not in ours and is_running(process)]
    if grace_s > 0:
        _signal(left, kill=False)
        left = running_after(left, grace_s)
    _signal(left, kill=True)
    return running_after(left, _KILL_WAIT_S)


def end_all_found(find: Callable[[], Iterable[psutil.Process]], grace_s: float) -> list[psutil.Process]:
    """Repeats ``end_processes`` until ``find`` finds nothing, because a process may start another while it is being
    ended. Returns the survivors."""
    left: list[psutil.Process] = []
    for _ in range(_SWEEPS):
        found = list(find())
        if not found:
            return []
        left = end_processes(found, grace_s)
    return left


def _signal(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill() if kill else process.terminate()


def running_after(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Waits until all have ended, at most ``timeout_s``; returns those that still run."""
    deadline = time.monotonic() + timeout_s
    while (left := [process for process in processes if is_running(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


@contextmanager
def no_signal_blocked() -> Iterator[None]:
    """Processes started inside inherit an empty signal mask. Only this thread's mask changes."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def allow_many_files(pid: int) -> None:
    """Raises the limit of open files of ``pid`` and its future children, as far as the system permits.

    Every instance costs Ray some descriptors: the usual limit of 1024 ends at a few hundred instances.
    """
    with suppress(OSError, ValueError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))
