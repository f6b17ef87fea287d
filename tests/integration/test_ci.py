"""``.ci/run``: what it does with tests that fail, over stand-ins of the scripts that it calls."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = ("", "--kills", "--page", "--cluster")
STAND_IN = """#!/usr/bin/env bash
echo "$*" >>calls
number=$(wc -l <calls)
[ ! -f "failed-$number" ] || {
    mkdir -p .pytest_cache/v/cache
    cp "failed-$number" .pytest_cache/v/cache/lastfailed
}
exit "$(cat "code-$number" 2>/dev/null || echo 0)"
"""
"""Of ``scripts/test``: call NUMBER leaves failed-NUMBER as pytest leaves it, and ends with code-NUMBER."""


class Checkout:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / ".ci").mkdir()
        (directory / "scripts").mkdir()
        shutil.copy(ROOT / ".ci/run", directory / ".ci/run")
        for name in ("setup", "check", "claude-check", "test"):
            script = directory / "scripts" / name
            script.write_text(STAND_IN if name == "test" else "#!/bin/sh\n")
            script.chmod(0o755)

    def fails(self, call: int, tests: Sequence[str], code: int = 1) -> None:
        """``call`` of ``scripts/test``, counted from 1, leaves these tests failed and ends with ``code``."""
        (self._directory / f"failed-{call}").write_text(json.dumps(dict.fromkeys(tests, True), indent=2))
        (self._directory / f"code-{call}").write_text(str(code))

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._directory / ".ci/run"], capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )

    def calls(self) -> list[str]:
        """The arguments of each call of ``scripts/test``."""
        return (self._directory / "calls").read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_all_tests_run_once_when_none_fails(checkout: Checkout) -> None:
    ended = checkout.run()
    assert ended.returncode == 0, ended.stderr
    assert checkout.calls() == list(RUNS)
    assert "once" not in ended.stdout


@pytest.mark.parametrize("run", RUNS)
def test_a_few_that_fail_are_run_once_more_alone_and_named_at_the_end(checkout: Checkout, run: str) -> None:
    number = RUNS.index(run) + 1
    checkout.fails(number, ["tests/a.py::test_a", "tests/b.py::test_b"])

    ended = checkout.run()

    assert ended.returncode == 0, ended.stderr
    again = checkout.calls()[number]
    assert again.startswith("--last-failed")
    assert ("-m" in again) == (run in {"--page", "--cluster"}), "what pytest leaves out unless it is asked for"
    assert [call for call in checkout.calls() if call != again] == list(RUNS)
    assert ended.stdout.splitlines()[-2:] == ["tests/a.py::test_a", "tests/b.py::test_b"]
    assert "failed once and passed alone" in ended.stdout.splitlines()[-3]


@pytest.mark.parametrize("run", RUNS)
def test_one_that_fails_again_ends_it_with_a_failure(checkout: Checkout, run: str) -> None:
    number = RUNS.index(run) + 1
    for call in (number, number + 1):
        checkout.fails(call, ["tests/a.py::test_a"])
    ended = checkout.run()
    assert ended.returncode == 1
    assert len(checkout.calls()) == number + 1
    assert "passed alone" not in ended.stdout


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("count", "code"), [(11, 1), (1, 2)])
def test_many_that_fail_and_a_run_that_did_not_end_by_itself_are_not_run_again(
    checkout: Checkout, run: str, count: int, code: int
) -> None:
    number = RUNS.index(run) + 1
    checkout.fails(number, [f"tests/a.py::test_{each}" for each in range(count)], code)
    assert checkout.run().returncode == code
    assert len(checkout.calls()) == number


def test_those_that_passed_alone_are_named_also_when_something_else_fails_later(checkout: Checkout) -> None:
    checkout.fails(1, ["tests/a.py::test_a"])
    checkout.fails(3, ["tests/b.py::test_b"])
    checkout.fails(4, ["tests/b.py::test_b"])
    ended = checkout.run()
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "tests/a.py::test_a"
