"""Leaves nothing behind, whatever becomes of a run: Ctrl-C, a test's timeout, kill -9 of the tests themselves.

``guarded`` starts this module as a program of its own session that holds the reading end of a pipe. When the pipe is
closed, by the end of the ``with`` or by the death of the run, it ends everything that carries the run's marks and
removes the run's directory.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.home import Home
from actors.processes import end_all_found
from tests.chaos.survey import survey

_ROOT = Path(__file__).resolve().parents[2]
_SWEEP_LIMIT_S = 60.0


@contextmanager
def guarded(run_id: str, home: Home, directory: Path) -> Iterator[None]:
    """``directory`` holds the home and all else of the run; it is gone after the block, with every process."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.guard", run_id, str(home.root), str(directory)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.communicate(timeout=_SWEEP_LIMIT_S)


def sweep(run_id: str, home: Home) -> None:
    end_all_found(lambda: [each.process for each in survey(home, run_id)], grace_s=0)


def main(run_id: str, home_root: str, directory: str) -> None:
    for asked_to_end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked_to_end, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(run_id, Home(Path(home_root)))
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
