from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from actors.errors import SettingsError
from actors.files import append_private, in_words, write_private


def test_a_private_file_is_replaced_whole_and_an_earlier_unfinished_one_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o644)
    (tmp_path / "x.new").write_text("half")

    write_private(path, "new")

    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_private_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written: No such file"):
        write_private(tmp_path / "none" / "x", "new")


def test_on_a_full_disk_the_old_file_stays_and_no_half_one_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_private(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match=r"No space left on device\. Free disk space"):
        write_private(path, "new")

    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_what_is_appended_to_is_private_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "log"

    append_private(path, b"one")
    append_private(path, b"two")

    assert path.read_bytes() == b"onetwo"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_a_full_disk_is_answered_with_more_space() -> None:
    assert "Free disk space" in in_words(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert "PHALANX_HOME" in in_words(OSError(errno.EROFS, "Read-only file system"))
