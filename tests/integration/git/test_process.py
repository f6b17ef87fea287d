"""What git says is heard whatever else it or its children do."""

from __future__ import annotations

import errno
import os
import shlex
import time
from pathlib import Path

import pytest

from actors.errors import WorkspaceError
from actors.git.process import GitOutput, GitRunner


def run(tmp_path: Path, script: str, **more: object) -> GitOutput:
    runner = GitRunner({"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    alias = f"alias.say=!sh -c {shlex.quote(script)}"
    return runner.run_once(tmp_path, "-c", alias, "say", **more)  # type: ignore[arg-type]


def test_more_complaints_than_a_pipe_holds_are_heard_beside_the_output(tmp_path: Path) -> None:
    answer = run(tmp_path, "head -c 300000 /dev/zero | tr '\\0' e >&2; echo done; exit 3")

    assert (answer.status, answer.output, len(answer.error)) == (3, "done\n", 300_000)


def test_input_is_read_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    assert run(tmp_path, "cat", stdin=b"x" * 300_000).output == "x" * 300_000
    assert run(tmp_path, "cat").output == ""


def test_a_child_that_goes_on_talking_keeps_nobody_waiting(tmp_path: Path) -> None:
    began = time.monotonic()
    answer = run(tmp_path, "echo said; (while sleep 0.01; do echo more >&2 || exit; done) & echo complained >&2")

    assert answer.output == "said\n"
    assert answer.error.startswith("complained\n")
    assert time.monotonic() - began < 5


def test_who_opens_the_place_of_complaints_anew_takes_none_away(tmp_path: Path) -> None:
    assert run(tmp_path, "echo one >&2; echo two > /dev/stderr; echo three >&2").error == "one\ntwo\nthree\n"


def test_git_is_ended_once_it_has_said_more_than_is_wanted(tmp_path: Path) -> None:
    answer = run(tmp_path, "head -c 100000 /dev/zero; exec sleep 60", most_bytes=1000)

    assert (answer.is_cut, len(answer.output)) == (True, 1000)


def test_git_is_waited_for_where_its_end_cannot_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int) -> int:
        raise PermissionError(pid)

    monkeypatch.setattr(os, "pidfd_open", forbidden)

    assert run(tmp_path, "echo said; exit 4").status == 4
    with pytest.raises(WorkspaceError, match=r"not done after 0\.2 s"):
        run(tmp_path, "exec sleep 60", timeout_s=0.2)


def test_git_is_looked_for_again_when_it_has_moved(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        place.mkdir()
    runner = GitRunner({"PATH": f"{first}:{second}:/usr/bin:/bin", "HOME": str(tmp_path)})
    for place, word in ((first, "first"), (second, "second")):
        (place / "git").write_text(f"#!/bin/sh\necho {word}\n")
        (place / "git").chmod(0o755)

    assert runner.run_once(tmp_path, "version").output == "first\n"
    (first / "git").unlink()
    with pytest.raises(WorkspaceError, match="not found"):
        runner.run_once(tmp_path, "version")
    assert runner.run_once(tmp_path, "version").output == "second\n"


@pytest.mark.parametrize("opening", ["pipe", "memfd_create"])
def test_no_file_stays_open_when_no_more_can_be_opened(
    opening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = set(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(f"actors.git.process.os.{opening}", no_more)
    with pytest.raises(WorkspaceError, match="when the host has room"):
        run(tmp_path, "true")

    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("", "exit status 3"),
        ("fatal: no\n", "fatal: no"),
        ("one\ntwo\n\nthree\nfour\n", "one; two; three; four"),
        ("\033[31mred\a\n", " [31mred "),
        ("x" * 900 + "y" * 900, "x" * 400 + " … " + "y" * 200),
    ],
)
def test_gits_complaint_fits_on_one_printable_line(error: str, words: str) -> None:
    assert GitOutput(status=3, output="", error=error).last_words == words
