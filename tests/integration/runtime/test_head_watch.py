"""What is seen of a head whose processes end, with processes that only have the names of Ray's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from actors.processes import end_processes
from supervisor.runtime.ray_head import HeadWatch
from tests.integration.runtime.conftest import eventually
from tests.processes import called, command_of, ends

_HEAD = """
import subprocess, sys
servers = [subprocess.Popen([program, "60"]) for program in sys.argv[1:]]
print("ready", flush=True)
while line := sys.stdin.readline():
    servers.append(subprocess.Popen([line.strip(), "0"]))
    print("begun", flush=True)
"""
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a head with servers of the given names. A further one, which ends at once, is named on its stdin."""
    begun: list[subprocess.Popen[str]] = []

    def run(*servers: str) -> subprocess.Popen[str]:
        for name in ("gcs_server", "raylet", "sleep"):
            (tmp_path / name).symlink_to(shutil.which("sleep") or "")
        command = [sys.executable, "-c", _HEAD, *(str(tmp_path / server) for server in servers)]
        begun.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert begun[-1].stdout is not None
        assert begun[-1].stdout.readline() == "ready\n"
        return begun[-1]

    yield run
    for head in begun:
        end_processes([*_children(head), psutil.Process(head.pid)] if head.poll() is None else [], grace_s=0)
        head.communicate(timeout=10)


def _children(head: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(head.pid).children()


def _until_named(head: subprocess.Popen[str], name: str) -> psutil.Process:
    assert eventually(lambda: called(_children(head), name))
    return called(_children(head), name)[0]


@pytest.mark.parametrize("victim", ["gcs_server", "raylet"])
def test_a_server_that_was_there_and_is_gone_is_named(begin: Begin, victim: str) -> None:
    head = begin("gcs_server", "raylet", "sleep")
    watch = HeadWatch(head.pid)
    server = _until_named(head, victim)
    assert [watch.ended() for _ in range(3)] == [""] * 3

    server.kill()

    assert ends(server.pid)
    assert watch.ended() == victim


def test_one_that_ended_before_it_was_seen_is_told_because_its_head_never_collects_it(begin: Begin) -> None:
    head = begin("gcs_server")
    times = iter([0.0, 1.9, 2.1])
    watch = HeadWatch(head.pid, lambda: next(times))
    assert head.stdin is not None
    assert head.stdout is not None
    head.stdin.write("sleep\n")
    head.stdin.flush()
    assert head.stdout.readline() == "begun\n"
    short_lived = next(each for each in _children(head) if each.pid != _until_named(head, "gcs_server").pid)
    assert ends(short_lived.pid)

    assert [watch.ended() for _ in range(3)] == ["", "", "server"]


def test_a_head_that_has_ended_is_told(begin: Begin) -> None:
    head = begin()
    watch = HeadWatch(head.pid)
    assert watch.ended() == ""

    head.kill()
    assert ends(head.pid)
    assert watch.ended() == "head"
    head.wait(10)

    assert watch.ended() == "head"
    assert HeadWatch(head.pid).ended() == "head"


_RAYLET = """
import subprocess, sys, time
for agent in sys.argv[1:]:
    subprocess.Popen([sys.executable, agent])
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("agents", "told"), [(["dashboard/agent.py", "runtime_env/agent/main.py"], ""), (["dashboard/agent.py"], "agent")]
)
def test_an_agent_that_ended_before_it_was_seen_is_told_because_the_other_is_there(
    tmp_path: Path, agents: list[str], told: str
) -> None:
    raylet = tmp_path / "raylet"
    raylet.symlink_to(Path(sys.executable).resolve())
    for agent in agents:
        (tmp_path / agent).parent.mkdir(parents=True)
        (tmp_path / agent).write_text("import time\ntime.sleep(60)\n")
    words = [str(raylet), "-c", _RAYLET, *(str(tmp_path / agent) for agent in agents)]
    head = subprocess.Popen([sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *words])
    try:
        times = iter([0.0, 2.9, 3.1])
        assert eventually(lambda: all(_runs(head, agent) for agent in agents))
        watch = HeadWatch(head.pid, lambda: next(times))
        assert [watch.ended() for _ in range(3)] == ["", "", told]
    finally:
        end_processes([*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)], grace_s=0)
        head.wait(10)


def _runs(head: subprocess.Popen[bytes], agent: str) -> bool:
    """Whether a process below the head has become the agent's program."""
    below = psutil.Process(head.pid).children(recursive=True)
    return any(" ".join(command_of(each)[:2]).endswith(agent) for each in below)
