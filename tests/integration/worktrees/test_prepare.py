"""Files and commands that prepare a worktree, with real links, modes and processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from actors.errors import WorkspaceError
from actors.processes import processes_with
from actors.worktrees.model import CopiedFile
from actors.worktrees.prepare import note_copies, read_files, run_setup, write_files
from tests.integration.worktrees.conftest import Place

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def test_files_are_copied_with_their_modes_and_in_place_of_what_is_there(tmp_path: Path) -> None:
    main, worktree = tmp_path / "main", tmp_path / "worktree"
    (main / "config").mkdir(parents=True)
    (main / ".env").write_bytes(b"KEY=1\n\xff")
    (main / ".env").chmod(0o600)
    (main / "config" / "run").write_text("#!/bin/sh\n")
    (main / "config" / "run").chmod(0o755)
    worktree.mkdir()
    (worktree / ".env").write_text("older")
    write_files(worktree, read_files(main, [".env", "config/run"]))
    assert (worktree / ".env").read_bytes() == b"KEY=1\n\xff"
    assert (worktree / ".env").stat().st_mode & 0o777 == 0o600
    assert (worktree / "config" / "run").stat().st_mode & 0o777 == 0o755


def test_a_link_is_followed_inside_and_never_out_of_the_directory(tmp_path: Path) -> None:
    main = tmp_path / "main"
    main.mkdir()
    (tmp_path / "secret").write_text("x")
    (main / "real").write_text("inside")
    (main / "inside").symlink_to("real")
    (main / "out").symlink_to(tmp_path / "secret")
    (main / "up").symlink_to(tmp_path)
    (main / "loop").symlink_to("loop")
    assert read_files(main, ["inside"])[0].content == b"inside"
    for path in ("out", "up/secret", "loop", "nowhere", "."):
        with pytest.raises(WorkspaceError, match=path):
            read_files(main, [path])


def test_nothing_is_written_through_a_link_of_the_worktree(tmp_path: Path) -> None:
    worktree, outside = tmp_path / "worktree", tmp_path / "outside"
    worktree.mkdir()
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (worktree / "config").symlink_to(outside)
    (worktree / ".env").symlink_to(outside / "kept")
    with pytest.raises(WorkspaceError, match="leads out of"):
        write_files(worktree, [CopiedFile(path="config/x", mode=0o600, content=b"")])
    write_files(worktree, [CopiedFile(path=".env", mode=0o600, content=b"new")])
    assert not (worktree / ".env").is_symlink()
    assert (outside / "kept").read_text() == "kept"
    assert [each.name for each in outside.iterdir()] == ["kept"]


def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WorkspaceError, match=r"pipe in .* is no file"):
        read_files(tmp_path, ["pipe"])


def test_a_command_runs_in_the_directory_with_just_its_environment(tmp_path: Path) -> None:
    run_setup(tmp_path, 'pwd > where; echo "$MODE" > mode; env | cut -d= -f1 > names', {**ENVIRONMENT, "MODE": "test"})
    assert (tmp_path / "where").read_text().strip() == str(tmp_path)
    assert (tmp_path / "mode").read_text() == "test\n"
    assert set((tmp_path / "names").read_text().split()) <= {"PATH", "MODE", "PWD", "OLDPWD", "SHLVL", "_"}


def test_the_last_that_a_failed_command_said_is_in_the_error(tmp_path: Path) -> None:
    command = "yes chatter | head -c 200000; echo missing library 1>&2; exit 3"
    with pytest.raises(WorkspaceError) as failed:
        run_setup(tmp_path, command, ENVIRONMENT)
    assert "ended with exit status 3" in str(failed.value)
    assert str(failed.value).endswith("missing library")
    assert len(str(failed.value)) < 6_000


def alive_of(mark: str) -> list[psutil.Process]:
    """One that has ended may wait for its new parent to take note of it."""
    return [each for each in processes_with("SETUP_MARK", mark) if each.status() != psutil.STATUS_ZOMBIE]


def test_a_command_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = str(tmp_path)
    begun = time.monotonic()
    with pytest.raises(WorkspaceError, match="did not end within 1 s"):
        run_setup(tmp_path, "sleep 60 & sleep 60", {**ENVIRONMENT, "SETUP_MARK": mark}, limit_s=1.0)
    assert time.monotonic() - begun < 20
    assert alive_of(mark) == []


def test_a_child_that_is_left_behind_and_holds_the_output_does_not_keep_the_command(tmp_path: Path) -> None:
    mark = str(tmp_path)
    begun = time.monotonic()
    run_setup(tmp_path, "sleep 60 & echo done", {**ENVIRONMENT, "SETUP_MARK": mark}, limit_s=30.0)
    assert time.monotonic() - begun < 20
    assert alive_of(mark) == []


def test_a_copy_is_work_only_once_it_was_changed(place: Place) -> None:
    (place.repository / ".gitignore").write_text(".env\n")
    place.git(place.repository, "add", ".gitignore")
    place.git(place.repository, "commit", "-qm", "Ignore")
    (place.repository / ".env").write_text("SECRET=1\n")
    for instance_id, change in (("spec_0_0_1", ""), ("spec_0_0_2", "SECRET=2\n")):
        made = place.create(instance_id)
        assert made.worktree is not None
        files = read_files(place.repository, [".env"])
        note_copies(made.worktree, made.directory, files)
        write_files(made.directory, files)
        if change:
            (made.worktree / ".env").write_text(change)
        removal = place.manager.retire(made)
        assert removal.removed, removal.kept_reason
        assert not made.worktree.exists()
        if change:
            assert place.git(place.repository, "show", f"{removal.saved_ref}:.env") == change.strip()
        else:
            assert removal.saved_ref is None
