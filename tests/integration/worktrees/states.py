"""States in which an agent may leave its worktree, and repositories that are set up in odd ways."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from tests.integration.worktrees.conftest import Place


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


NOTEBOOK = b'{"source": "1 + 1"}\n{"output": "2"}\n'


def _with_a_filter_that_strips(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "filter.strip.clean", "sed /output/d")
    place.git(place.repository, "config", "filter.strip.smudge", "cat")
    place.git(place.repository, "config", "filter.strip.required", "true")
    (tree / ".gitattributes").write_text("*.ipynb filter=strip\n")


def commit_through_a_filter_that_strips(place: Place, tree: Path) -> None:
    _with_a_filter_that_strips(place, tree)
    (tree / "plain.ipynb").write_bytes(b'{"source": "1"}\n')
    (tree / os.fsdecode(b"odd\n\xff name.ipynb")).write_bytes(NOTEBOOK)
    _commit_all(place, tree)


def stage_through_a_filter_that_strips(place: Place, tree: Path) -> None:
    _with_a_filter_that_strips(place, tree)
    (tree / "a.ipynb").write_bytes(NOTEBOOK)
    place.git(tree, "add", "--all")


def run_a_notebook_that_was_committed_before(place: Place, tree: Path) -> None:
    _with_a_filter_that_strips(place, tree)
    (tree / "a.ipynb").write_bytes(b'{"source": "1 + 1"}\n')
    _commit_all(place, tree)
    place.git(place.repository, "merge", "-q", "phalanx/spec_1")
    (tree / "a.ipynb").write_bytes(NOTEBOOK)
    place.git(tree, "add", "--update")
    assert place.git(tree, "status", "--porcelain") == ""


def keep_the_length_in_a_filter(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "filter.secret.clean", "tr 0-9 x")
    (tree / ".gitattributes").write_text("*.key filter=secret\n")
    (tree / "a.key").write_bytes(b"1234\n")
    _commit_all(place, tree)


def lose_the_program_of_a_filter(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "filter.packed.clean", "gzip --no-name --stdout")
    place.git(place.repository, "config", "filter.packed.smudge", "/no/such/program")
    place.git(place.repository, "config", "filter.packed.required", "true")
    (tree / ".gitattributes").write_text("*.big filter=packed\n")
    (tree / "a.big").write_bytes(b"large\n" * 1000)
    _commit_all(place, tree)


def commit_lines_that_end_in_two_ways(place: Place, tree: Path) -> None:
    (tree / ".gitattributes").write_text("*.txt text=auto\n*.bat eol=crlf\n")
    for name in ("mixed.txt", "mixed.bat"):
        (tree / name).write_bytes(b"a\r\nb\nc\r")
    _commit_all(place, tree)


def commit_lines_under_autocrlf(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "core.autocrlf", "input")
    (tree / "mixed").write_bytes(b"a\r\nb\n")
    _commit_all(place, tree)


def commit_a_keyword(place: Place, tree: Path) -> None:
    (tree / ".gitattributes").write_text("*.c ident\n")
    (tree / "a.c").write_bytes(b"$Id: what I wrote there $\n")
    _commit_all(place, tree)


def commit_in_an_encoding(place: Place, tree: Path) -> None:
    (tree / ".gitattributes").write_text("*.utf working-tree-encoding=UTF-16\n")
    (tree / "big.utf").write_bytes("\ufeffh\u00e9\n".encode("utf-16-be"))
    _commit_all(place, tree)


def name_attributes_elsewhere(place: Place, tree: Path) -> None:
    _with_a_filter_that_strips(place, tree)
    (tree / ".gitattributes").rename(place.base / "attributes")
    place.git(place.base, "config", "--global", "core.attributesFile", str(place.base / "attributes"))
    (tree / "a.ipynb").write_bytes(NOTEBOOK)
    _commit_all(place, tree)


def commit_what_git_converts_back(place: Place, tree: Path) -> None:
    """And merge it, so that nothing of it is in the worktree alone."""
    place.git(place.repository, "config", "filter.packed.clean", "gzip --no-name --stdout")
    place.git(place.repository, "config", "filter.packed.smudge", "gzip --decompress --stdout")
    rules = (
        "*.bat eol=crlf\n*.utf working-tree-encoding=UTF-16LE-BOM\n*.big filter=packed\n*.c ident\n*.txt text=auto\n"
    )
    (tree / ".gitattributes").write_text(rules)
    (tree / "a.bat").write_bytes(b"a\r\nb\r\n")
    (tree / "a.utf").write_bytes("\ufeffh\u00e9\n".encode("utf-16-le"))
    (tree / "a.big").write_bytes(b"large\n" * 1000)
    (tree / "a.c").write_bytes(b"$Id: 055c8729cdcc372500a08db659c045e16c4409fb $\n")
    (tree / "a.txt").write_bytes(b"a\nb\n")
    _commit_all(place, tree)
    place.git(place.repository, "merge", "-q", "phalanx/spec_1")


def _commit_all(place: Place, tree: Path) -> None:
    place.git(tree, "add", "--all")
    place.git(tree, "commit", "-q", "-m", "All of it")
    assert place.git(tree, "status", "--porcelain") == ""


def change_a_mode_that_git_does_not_look_at(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "core.fileMode", "false")
    (tree / "src/code.py").chmod(0o755)
    assert place.git(tree, "status", "--porcelain") == ""


def tell_names_apart_by_case_only(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "core.ignoreCase", "true")
    (tree / "src/CODE.py").write_text("another file\n")
    assert place.git(tree, "status", "--porcelain") == ""


def leave_pipes_and_sockets(place: Place, tree: Path) -> None:
    modify(place, tree)
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tree / "socket"))


def ignore_in_the_users_own_rules(place: Place, tree: Path) -> None:
    (place.base / "ignored").write_text("*.mine\n")
    place.git(place.base, "config", "--global", "core.excludesFile", str(place.base / "ignored"))
    (tree / "notes.mine").write_text("an idea")


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
    commit_through_a_filter_that_strips,
    stage_through_a_filter_that_strips,
    run_a_notebook_that_was_committed_before,
    keep_the_length_in_a_filter,
    lose_the_program_of_a_filter,
    commit_lines_that_end_in_two_ways,
    commit_lines_under_autocrlf,
    commit_a_keyword,
    commit_in_an_encoding,
    name_attributes_elsewhere,
    change_a_mode_that_git_does_not_look_at,
    tell_names_apart_by_case_only,
    leave_pipes_and_sockets,
    ignore_in_the_users_own_rules,
    split_the_index,
    leave_a_lock,
    commit_on_the_branch,
    commit_detached,
    commit_and_modify,
]
