from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.errors import SettingsError
from actors.files import UNFINISHED, FileLock, append_private, in_words, replace_file, write_private


def test_a_private_file_is_replaced_whole_and_what_a_killed_writer_left_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o644)
    (tmp_path / f"x{UNFINISHED}").write_text("half and much longer")

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


def test_a_durable_replacement_has_content_and_name_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, str]] = []

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.is_dir(), path.name))

    monkeypatch.setattr(os, "fsync", note)
    replace_file(tmp_path / "x", "new")
    assert synced == []
    replace_file(tmp_path / "x", "new", durable=True)

    assert synced == [(False, f"x{UNFINISHED}"), (True, tmp_path.name)]


def test_a_writer_that_is_stopped_holds_up_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with (tmp_path / "file.phalanx-new").open("wb") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        replace_file(path, "new")
        replace_file(path, "newer")
    assert path.read_text() == "newer"
    replace_file(path, "newest")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_is_appended_to_is_private_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "log"

    append_private(path, b"one")
    append_private(path, b"two")

    assert path.read_bytes() == b"onetwo"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_a_full_disk_is_answered_with_more_space() -> None:
    assert "Free disk space" in in_words(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert "PHALANX_HOME" in in_words(OSError(errno.EROFS, "Read-only file system"))


def test_a_file_that_many_replace_at_once_is_always_whole(tmp_path: Path) -> None:
    path, contents = tmp_path / "x", [str(number) * 100_000 for number in range(8)]

    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            list(threads.map(lambda content: replace_file(path, content), contents))
            assert path.read_text() in contents

    assert [each.name for each in tmp_path.iterdir()] == ["x"]


async def test_a_lock_that_another_holds_is_waited_for(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.try_acquire()
    assert not second.acquire(0.0)
    assert not await second.acquire_async(0.0)
    waiting = asyncio.create_task(second.acquire_async(5.0))
    await asyncio.sleep(0)
    first.release()
    assert await waiting
    second.release()


def test_who_holds_a_lock_may_ask_for_it_again(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire()
    held = lock.descriptor
    assert lock.acquire(0.0)
    assert lock.descriptor == held
    lock.release()


def test_a_lock_lasts_as_long_as_anybody_has_inherited_it(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.try_acquire()
    inherited = os.dup(first.descriptor)
    first.release()
    assert not second.try_acquire()
    os.close(inherited)
    assert second.try_acquire()
    second.release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_on_a_directory_is_freed_with_its_holder_however_that_ends(tmp_path: Path) -> None:
    program = """
import sys, pathlib, actors.files
print(actors.files.FileLock(pathlib.Path(sys.argv[1]), is_directory=True).acquire(5))
input()
"""
    command = [sys.executable, "-u", "-c", program, str(tmp_path)]
    lock, root = FileLock(tmp_path, is_directory=True), Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not lock.try_acquire()
        holder.kill()
        assert lock.acquire(5.0)
    lock.release()


@pytest.mark.parametrize(
    "locks",
    [lambda path: FileLock(path).try_acquire(), lambda path: replace_file(path, "text")],
    ids=["lock", "replace"],
)
def test_a_lock_that_the_file_system_refuses_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: Callable[[Path], object]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks"):
        locks(tmp_path / "lock")
    opened = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert not [path for path in opened if path.startswith(str(tmp_path / "lock"))]
