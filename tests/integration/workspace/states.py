"""States in which an agent may leave its worktree, and repositories that are set up in odd ways."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.integration.workspace.conftest import Place


def modify(place: Place, tree: Path) -> None:
    (tree / "src/code.py").write_text("x = 2\n")


def stage(place: Place, tree: Path) -> None:
    modify(place, tree)
    (tree / "staged only here").write_text("new\n")
    place.git(tree, "add", "--all")


def stage_and_modify_again(place: Place, tree: Path) -> None:
    stage(place, tree)
    (tree / "src/code.py").write_text("x = 3\n")


def stage_and_take_back(place: Place, tree: Path) -> None:
    stage(place, tree)
    (tree / "src/code.py").write_text("x = 1\n")
    (tree / "staged only here").unlink()


def announce_a_file(place: Place, tree: Path) -> None:
    (tree / "soon").write_text("not staged yet\n")
    place.git(tree, "add", "--intent-to-add", "soon")


def leave_untracked(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "status.showUntrackedFiles", "no")
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/notes.txt").write_text("an idea")
    (tree / "empty file").touch()
    (tree / "empty directory").mkdir()


def leave_ignored(place: Place, tree: Path) -> None:
    (place.repository / ".git/info/exclude").write_text(".env\nbuild/\n*.log\n")
    (tree / ".env").write_text("KEY=1")
    (tree / "src/run.log").write_text("it ran")
    (tree / "build/deep/down").mkdir(parents=True)
    (tree / "build/deep/down/result").write_bytes(bytes(range(256)))
    (tree / "build/link").symlink_to("deep")


def delete(place: Place, tree: Path) -> None:
    (tree / "src/code.py").unlink()


def rename(place: Place, tree: Path) -> None:
    place.git(tree, "mv", "src/code.py", "src/program.py")


def make_executable(place: Place, tree: Path) -> None:
    (tree / "src/code.py").chmod(0o755)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o700)


def make_links(place: Place, tree: Path) -> None:
    (tree / "dangling").symlink_to("/nowhere/at all")
    (tree / "to directory").symlink_to("src", target_is_directory=True)
    (tree / "odd target").symlink_to(os.fsdecode(b"odd\n\xff target"))
    (tree / "src/code.py").unlink()
    (tree / "src/code.py").symlink_to("../dangling")


def make_a_directory_of_a_file(place: Place, tree: Path) -> None:
    (tree / "src/code.py").unlink()
    (tree / "src/code.py").mkdir()
    (tree / "src/code.py/part").write_text("1")


def make_a_file_of_a_directory(place: Place, tree: Path) -> None:
    (tree / "src/code.py").unlink()
    (tree / "src").rmdir()
    (tree / "src").write_text("1")


def make_a_link_of_a_directory(place: Place, tree: Path) -> None:
    outside = place.base / "outside"
    outside.mkdir()
    (outside / "code.py").write_text("somebody else's")
    (tree / "src/code.py").unlink()
    (tree / "src").rmdir()
    (tree / "src").symlink_to(outside)


def use_odd_names(place: Place, tree: Path) -> None:
    for name in (
        b"new\nline",
        b"\xff\xfe",
        b'quo"te',
        b"-rf",
        b" ",
        b"tab\t",
        b"back\\slash",
        b":(top)*",
        b"\x1b[0m",
        b"#",
    ):
        (Path(os.fsdecode(os.fsencode(tree) + b"/" + name))).write_bytes(name)
    (tree / "\u00fc").write_text("composed")
    (tree / "u\u0308").write_text("decomposed")


def hide_from_status(place: Place, tree: Path) -> None:
    place.git(tree, "update-index", "--assume-unchanged", "src/code.py")
    modify(place, tree)


def skip_in_status(place: Place, tree: Path) -> None:
    place.git(tree, "update-index", "--skip-worktree", "src/code.py")
    modify(place, tree)


def keep_the_time_of_a_file(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "core.trustctime", "false")
    place.git(place.repository, "config", "core.checkStat", "minimal")
    path = tree / "src/code.py"
    os.utime(path, (1, 1))
    place.git(tree, "update-index", "--refresh")
    _wait_for_the_next_second()
    path.write_text("y = 1\n")
    os.utime(path, (1, 1))
    assert place.git(tree, "status", "--porcelain") == ""


def _wait_for_the_next_second() -> None:
    """Git notes times in seconds."""
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.01)


def end_lines_in_two_ways(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "core.autocrlf", "true")
    (tree / "src/code.py").write_bytes(b"a\r\nb\nc\r")
    (tree / "new").write_bytes(b"a\r\nb\n")


def convert_with_a_filter(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "filter.lossy.clean", "echo nothing left")
    (tree / ".gitattributes").write_text("*.txt filter=lossy\nutf ident working-tree-encoding=UTF-16\n")
    (tree / "a.txt").write_text("all of it")
    (tree / "utf").write_text("$Id: mine $")


def split_the_index(place: Place, tree: Path) -> None:
    place.git(tree, "update-index", "--split-index")
    stage_and_modify_again(place, tree)


def lose_the_index(place: Place, tree: Path) -> None:
    (place.repository / ".git/worktrees/spec_1/index").unlink()


def leave_a_lock(place: Place, tree: Path) -> None:
    (place.repository / ".git/worktrees/spec_1/index.lock").touch()
    modify(place, tree)


def hinder_every_commit(place: Place, tree: Path) -> None:
    for name in ("pre-commit", "commit-msg", "reference-transaction", "post-index-change", "post-checkout"):
        hook = place.repository / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {place.base}/hook-ran\nexit 1\n")
        hook.chmod(0o755)
    for key, value in {"commit.gpgSign": "true", "gpg.program": "false", "user.useConfigOnly": "true"}.items():
        place.git(place.base, "config", "--global", key, value)
    place.git(place.base, "config", "--global", "--unset", "user.email")
    modify(place, tree)


def commit_on_the_branch(place: Place, tree: Path) -> None:
    place.commit(tree, "new.py")


def commit_detached(place: Place, tree: Path) -> None:
    place.git(tree, "checkout", "-q", "--detach")
    place.commit(tree, "new.py")


def commit_and_modify(place: Place, tree: Path) -> None:
    commit_on_the_branch(place, tree)
    modify(place, tree)


STATES = [
    modify,
    stage,
    stage_and_modify_again,
    stage_and_take_back,
    announce_a_file,
    leave_untracked,
    leave_ignored,
    delete,
    rename,
    make_executable,
    make_links,
    make_a_directory_of_a_file,
    make_a_file_of_a_directory,
    make_a_link_of_a_directory,
    use_odd_names,
    hide_from_status,
    skip_in_status,
    keep_the_time_of_a_file,
    end_lines_in_two_ways,
    convert_with_a_filter,
    split_the_index,
    leave_a_lock,
    commit_on_the_branch,
    commit_detached,
    commit_and_modify,
]
