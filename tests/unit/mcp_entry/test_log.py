"""The entry's logs stay small and private, however long and however many write to them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mcp_entry.log import SharedLog, make_room

FULL_BYTES = 2000


def write(handler: SharedLog, text: str) -> None:
    handler.emit(logging.LogRecord("mcp_entry", logging.INFO, __file__, 1, text, None, None))


def sizes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.iterdir()}


def test_a_full_log_is_kept_once_and_begun_anew_and_both_are_private(tmp_path: Path) -> None:
    log = SharedLog(tmp_path / "entry.log", FULL_BYTES)
    for number in range(500):
        write(log, f"line {number}")
    log.close()
    assert sizes(tmp_path).keys() == {"entry.log", "entry.log.1"}
    assert max(sizes(tmp_path).values()) < FULL_BYTES + len("line 499\n")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert (tmp_path / "entry.log").read_text().endswith("line 499\n")


def test_several_entries_that_write_to_one_log_go_on_in_the_new_one(tmp_path: Path) -> None:
    logs = [SharedLog(tmp_path / "entry.log", FULL_BYTES) for _ in range(3)]
    for number in range(500):
        for log in logs:
            write(log, f"line {number}")
    for log in logs:
        log.close()
    assert max(sizes(tmp_path).values()) < FULL_BYTES + len("line 499\n")
    assert (tmp_path / "entry.log").read_text().endswith("line 499\n" * 3)


def test_a_log_that_was_removed_is_made_again_and_a_lone_surrogate_is_written(tmp_path: Path) -> None:
    log = SharedLog(tmp_path / "entry.log", FULL_BYTES)
    write(log, "before")
    (tmp_path / "entry.log").unlink()
    write(log, "after \udcff")
    log.close()
    assert (tmp_path / "entry.log").read_text() == "after \\udcff\n"


@pytest.mark.parametrize(("before", "there"), [(10, {"up.log"}), (FULL_BYTES, {"up.log.1"}), (None, set())])
def test_a_log_of_programs_is_set_aside_when_it_is_full(tmp_path: Path, before: int | None, there: set[str]) -> None:
    if before is not None:
        (tmp_path / "up.log").write_text("x" * before)
    make_room(tmp_path / "up.log", FULL_BYTES)
    assert sizes(tmp_path).keys() == there
