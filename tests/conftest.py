"""What every test may ask for, and the one thing that every run must show: no process is left behind.

Owns the private short directories, the way to the real Claude Code, and the guard that fails a run whose tests left
processes running. ``short_directories`` is for fixtures that outlive one test; a test itself asks for ``short_tmp``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from tests.cluster.rig import why_no_rig
from tests.standin.claude_versions import CLAUDE_COMMANDS, OLDEST, installed_claude

_RUN_MARK = "TEST_RUN_ID"
"""Set in the environment of this run, so that a process started by its tests is known wherever it moved to."""
_ENDING_WAIT_S = 5.0
hypothesis.settings.register_profile("phalanx", deadline=None)  # what else the machine does is no fault of an example
hypothesis.settings.load_profile("phalanx")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is not asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Most tests with a Claude Code are about Phalanx: the oldest version runs with them on request only.

    What each version does at its terminal is shown by those that are marked, and by ``tests/scenarios``.
    """
    for item in items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        is_oldest = OLDEST in (given.get("claude_command"), given.get("rig"))
        if is_oldest and item.get_closest_marker("each_version") is None:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def short_directories() -> Iterator[list[Path]]:
    """Every directory made for a test; what is left of them is removed at the end of the run."""
    made: list[Path] = []
    yield made
    for directory in made:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def make_short_tmp(short_directories: list[Path]) -> Callable[[], Path]:
    """Makes directories as ``short_tmp`` does that live until the end of the run."""

    def make() -> Path:
        short_directories.append(Path(tempfile.mkdtemp(prefix="phx", dir="/tmp")))
        return short_directories[-1]

    return make


@pytest.fixture(scope="session")
def rig_possible() -> None:
    """Where no several hosts can be made a test that needs them is skipped aloud; in CI it fails."""
    reason = why_no_rig()
    if not reason:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"No hosts for these tests: {reason}", pytrace=False)
    pytest.skip(f"No hosts for these tests: {reason}. What one machine can show, test_one_machine.py shows.")


@pytest.fixture
def short_tmp(make_short_tmp: Callable[[], Path]) -> Iterator[Path]:
    """An empty directory (0700) whose path leaves room for the names of Unix sockets, which end at 107 bytes."""
    directory = make_short_tmp()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", params=CLAUDE_COMMANDS)
def claude_command(request: pytest.FixtureRequest) -> Path:
    """The real Claude Code in each version that is tested."""
    return installed_claude(request.param)


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left_behind(
    short_directories: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fails the run when a process started by its tests is still there at the end, and ends it."""
    before = set(psutil.Process().children(recursive=True))
    run_id = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(_RUN_MARK, run_id)
        yield
    homes = [*short_directories, tmp_path_factory.getbasetemp()]
    left = _still_running(_started_by(run_id, homes) - before)
    lines = [_describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    if lines:
        pytest.fail("\n".join(["The tests left processes behind (ended now):", *lines]), pytrace=False)


def _started_by(run_id: str, homes: Collection[Path]) -> set[psutil.Process]:
    found = set(psutil.Process().children(recursive=True))
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            home = Path(environment.get("PHALANX_HOME", "/"))
            if environment.get(_RUN_MARK) == run_id or any(home.is_relative_to(known) for known in homes):
                found.add(process)
    return found - {psutil.Process()}


def _still_running(processes: Collection[psutil.Process]) -> list[psutil.Process]:
    """Those that do not end by themselves within the grace. A dead one that init has yet to collect has ended."""
    deadline = time.monotonic() + _ENDING_WAIT_S
    while (running := [each for each in processes if _runs(each)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return running


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"  {process.pid}: {' '.join(process.cmdline())[:300] or process.name()}"
    except psutil.Error:
        return f"  {process.pid}: (gone meanwhile)"
