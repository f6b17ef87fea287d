"""Who listens on a socket, by what the kernel tells."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from actors.tmux.server import listener

LISTENS_AND_FORKS = """
import os, signal, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
child = os.fork()
if child:
    print(child, flush=True)
signal.pause()
"""


@pytest.fixture
def family(home: Path) -> Iterator[tuple[int, int]]:
    """A process that listens on ``a socket`` in the home, and its child, which holds the same socket."""
    command = [sys.executable, "-c", LISTENS_AND_FORKS, str(home / "a socket")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        yield parent.pid, child
        for pid in (child, parent.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_child_that_holds_the_socket_as_well_is_not_taken_for_the_listener(
    home: Path, family: tuple[int, int]
) -> None:
    parent, _ = family
    assert listener(home / "a socket") == parent
    (home / "a socket").unlink()
    assert listener(home / "a socket") == parent


def test_the_child_is_the_listener_once_its_parent_has_ended(home: Path, family: tuple[int, int]) -> None:
    parent, child = family
    os.kill(parent, signal.SIGKILL)
    os.waitid(os.P_PID, parent, os.WEXITED | os.WNOWAIT)
    assert listener(home / "a socket") == child


def test_nobody_listens_where_a_socket_was_left_behind(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "left"))
        listening.listen()
        assert listener(home / "left") == os.getpid()
    assert listener(home / "left") is None
