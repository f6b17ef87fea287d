"""Finding and ending real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from actors.processes import end_processes, is_running, mark_of, processes_with
from tests.integration.runtime.conftest import ROOT, eventually

MARK = "TEST_MARK"
Start = Callable[..., psutil.Process]


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def start(mark: str) -> Iterator[Start]:
    """Starts a command with the mark; all that it started is ended after the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def run(*command: str, **environment: str) -> psutil.Process:
        marked = {**os.environ, MARK: mark, **environment}
        begun.append(subprocess.Popen(command, env=marked, stdout=subprocess.PIPE, start_new_session=True))
        return psutil.Process(begun[-1].pid)

    yield run
    end_processes(processes_with(MARK, mark), grace_s=0)
    for process in begun:
        process.communicate(timeout=5)


def test_a_daemon_is_found_by_its_mark_though_it_left_session_and_parent(start: Start, mark: str) -> None:
    start("sh", "-c", "setsid sleep 60 </dev/null >/dev/null 2>&1 &")

    assert eventually(lambda: [each.name() for each in processes_with(MARK, mark)] == ["sleep"])
    (daemon,) = processes_with(MARK, mark)
    assert daemon.ppid() != os.getpid()
    assert mark_of(daemon, MARK) == mark


def test_a_child_without_the_mark_belongs_to_its_marked_parent(start: Start, mark: str) -> None:
    start("sh", "-c", f"env -u {MARK} sleep 60; true")

    assert eventually(lambda: "sleep" in {each.name() for each in processes_with(MARK, mark)})


def test_another_mark_is_not_ours(start: Start, mark: str) -> None:
    start("sleep", "60", **{MARK: mark + "0"})

    assert processes_with(MARK, mark) == []
    end_processes(processes_with(MARK, mark + "0"), grace_s=0)


def test_a_process_that_ends_when_asked_is_given_the_time_for_it(start: Start, tmp_path: Path) -> None:
    farewell = tmp_path / "farewell"
    script = f"trap 'touch {farewell}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    process = start("sh", "-c", script)
    assert eventually(lambda: bool(process.children()))

    assert end_processes([process], grace_s=5.0) == []

    assert farewell.exists()
    assert not is_running(process)


@pytest.mark.parametrize("hindrance", ["deaf", "stopped"])
def test_a_process_that_does_not_end_when_asked_is_killed(start: Start, hindrance: str) -> None:
    process = start(sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    assert eventually(lambda: process.status() == psutil.STATUS_SLEEPING)
    if hindrance == "stopped":
        process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()

    assert end_processes([process], grace_s=0.3) == []

    assert not is_running(process)
    assert time.monotonic() - begun < 4


def test_the_caller_and_its_ancestors_are_never_ended(start: Start) -> None:
    script = "import psutil; from actors.processes import end_processes as end; me = psutil.Process()\n"
    script += "print(end([me, *me.parents()], 0))"

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_one_that_waits_to_be_collected_has_ended(start: Start) -> None:
    process = start("true")

    assert eventually(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert not is_running(process)
    assert end_processes([process], grace_s=5.0) == []
