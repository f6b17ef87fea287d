"""Processes of a team: found by a mark, ended, and what they inherit of signals and limits.

Finding processes by a mark in their environment, and ending them.

Used by the runtime for everything of a team and by the host for everything of an instance. A mark is inherited by all
that a process starts and survives a change of session or parent, which a tree of parents does not. Linux only; every
function blocks. Promises: a process id that now belongs to another process is never signalled (processes are known by
id and start time), and neither are the calling process and its ancestors.

What a process that we start inherits of our signals.

How many files a Ray may have open.
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


def processes_with(name: str, value: str) -> list[psutil.Process]:
    """The processes that carry ``name=value`` in their environment, and all below them: a program that writes its own
    title may have overwritten the environment that others can see."""
    everyone = {process.pid: process for process in psutil.process_iter()}
    found = {pid for pid, process in everyone.items() if mark_of(process, name) == value}
    parents = {pid: _parent(process) for pid, process in everyone.items()}
    children = [pid for pid in everyone if _is_below(pid, found, parents)]
    return [everyone[pid] for pid in sorted({*found, *children})]


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
    """The variable in the environment with which the process was started; None when absent or not readable."""
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None


def name_of(process: psutil.Process) -> str:
    """Of its program; empty when it has ended."""
    with suppress(psutil.Error):
        return process.name()
    return ""


def own_umask() -> str:
    """Of this process, in octal. Asking the system call for it would change it for a moment, for every thread."""
    status = Path("/proc/self/status").read_text()
    return next((line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), "0022")


def is_running(process: psutil.Process) -> bool:
    """Whether this very process still runs. One that only waits for its parent to notice its end does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_processes(processes: Iterable[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """Asks all to end (SIGTERM) and kills those that have not within ``grace_s``; 0 kills at once.

    Returns those that are still there all the same. Never touches the calling process and its ancestors.
    """
    ours = {psutil.Process(), *psutil.Process().parents()}
    left = [process for process in processes if process not in ours and is_running(process)]
    if grace_s > 0:
        _signal(left, kill=False)
        left = running_after(left, grace_s)
    _signal(left, kill=True)
    return running_after(left, _KILL_WAIT_S)


def end_all_found(find: Callable[[], Iterable[psutil.Process]], grace_s: float) -> list[psutil.Process]:
    """``end_processes`` for what ``find`` finds until it finds nothing: a process may have started another while it was
    being ended. Returns those that are still there all the same."""
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
    """Those that still run when all have ended or ``timeout_s`` has passed."""
    deadline = time.monotonic() + timeout_s
    while (left := [process for process in processes if is_running(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


@contextmanager
def no_signal_blocked() -> Iterator[None]:
    """What is started inside inherits an empty signal mask. Only this thread's mask changes."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_OPEN_FILES = 65_536


def allow_many_files(pid: int) -> None:
    """Every instance costs Ray some descriptors; the usual limit of 1024 is a few hundred instances.

    As far as the system permits; what ``pid`` starts from now on inherits it.
    """
    with suppress(OSError, ValueError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))
