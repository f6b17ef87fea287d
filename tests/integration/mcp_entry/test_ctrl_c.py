"""Ctrl-C while a program still imports what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
STOPPED = 130
# An entry point is guarded from its first act on: nothing can be guarded before that.
_WHEN_GUARDED = """
import signal
import mcp_entry.launch as launch
guard = signal.signal
signal.signal = lambda *given: (guard(*given), print(flush=True))[0]
launch.{}()
"""


def interrupted(program: str, after_s: float) -> tuple[int, bytes]:
    """The exit status and what was said when it is interrupted this long after its entry point has its guard."""
    command: Sequence[str] = (sys.executable, "-c", _WHEN_GUARDED.format(program), "--help")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("program", ["phalanx", "phalanx_mcp"])
@pytest.mark.parametrize("after_s", [0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5])
def test_it_ends_as_shells_expect_and_without_a_traceback(program: str, after_s: float) -> None:
    code, said = interrupted(program, after_s)
    assert said == b""
    assert code in (STOPPED, 0)


def test_nothing_is_said_of_work_that_it_has_cut_off(short_tmp: Path) -> None:
    cut_off = """
import asyncio
def interrupted(work, **_):
    raise KeyboardInterrupt
asyncio.run = interrupted
from mcp_entry.cli.app import main
main()
"""
    command = [sys.executable, "-c", cut_off, "list"]
    variables = {"PATH": os.environ["PATH"], "PHALANX_HOME": str(short_tmp)}
    ended = subprocess.run(command, env=variables, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (STOPPED, b"", b"Stopped.\n")


def test_one_in_the_background_of_a_shell_goes_on_ignoring_it() -> None:
    program = str(BIN / "phalanx")
    started = subprocess.run(
        ["sh", "-c", 'trap "" INT; "$0" --version & kill -INT $!; wait $!', program],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert started.stdout.startswith(b"phalanx ")
