"""Guards over working trees: what they see without looking at every file, and where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.git.tree_watch import TreeWatcher

NOTHING: frozenset[str] = frozenset()


@pytest.fixture
def tree(short_tmp: Path) -> Path:
    top = short_tmp / "tree"
    (top / "a/b").mkdir(parents=True)
    (top / "build").mkdir()
    for name in ("f", "a/f", "a/b/f", "build/f", "x.log"):
        (top / name).write_text("1")
    (top / ".git").mkdir()
    return top


def token_of(tree_watcher: TreeWatcher, tree: Path, ignored: frozenset[str] = NOTHING) -> int:
    token = tree_watcher.begin(str(tree), ignored)
    assert token is not None
    return token


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write("2")


def _below(path: Path) -> None:
    path.parent.mkdir()
    path.touch()


CHANGES: dict[str, Callable[[Path], object]] = {
    "append": lambda tree: _append(tree / "a/b/f"),
    "mode": lambda tree: (tree / "a/f").chmod(0o755),
    "replaced": lambda tree: ((tree / "n").write_text("1"), (tree / "n").replace(tree / "f")),
    "deleted": lambda tree: (tree / "a/f").unlink(),
    "new": lambda tree: (tree / "a/n").touch(),
    "link": lambda tree: (tree / "a/n").symlink_to("f"),
    "truncated": lambda tree: os.truncate(tree / "f", 0),
    "new directory": lambda tree: (tree / "a/d").mkdir(),
    "in a new directory": lambda tree: _below(tree / "a/d/f"),
    "directory moved": lambda tree: (tree / "a/b").rename(tree / "c"),
    "tree moved away": lambda tree: tree.rename(tree.with_name("elsewhere")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_ends_a_token_and_the_next_one_holds_until_the_next_change(tree: Path, change: str) -> None:
    tree_watcher = TreeWatcher()
    token = token_of(tree_watcher, tree)
    assert tree_watcher.holds(str(tree), token, NOTHING)
    CHANGES[change](tree)

    assert not tree_watcher.holds(str(tree), token, NOTHING)
    if tree.exists():
        again = token_of(tree_watcher, tree)
        assert tree_watcher.holds(str(tree), again, NOTHING)
        _append(tree / "f" if change != "in a new directory" else tree / "a/d/f")
        assert not tree_watcher.holds(str(tree), again, NOTHING)


def test_what_git_ignores_and_git_itself_are_not_guarded(tree: Path) -> None:
    tree_watcher = TreeWatcher()
    ignored = frozenset({"build/", "x.log"})
    token = token_of(tree_watcher, tree, ignored)
    _append(tree / "build/f")
    (tree / "build/new").mkdir()
    _append(tree / "x.log")
    (tree / ".git/index").touch()

    assert tree_watcher.holds(str(tree), token, ignored)


def test_a_token_does_not_hold_for_an_answer_that_depends_on_what_was_ignored(tree: Path) -> None:
    tree_watcher = TreeWatcher()
    token = token_of(tree_watcher, tree, frozenset({"build/"}))

    assert not tree_watcher.holds(str(tree), token, NOTHING)
    assert token_of(tree_watcher, tree) != token


def test_what_turns_out_to_be_ignored_is_not_guarded_any_more(tree: Path) -> None:
    tree_watcher = TreeWatcher()
    (tree / "build/below").mkdir()
    token = token_of(tree_watcher, tree)
    ignored = frozenset({"build/", "x.log"})
    tree_watcher.narrow(str(tree), token, ignored)
    _append(tree / "build/f")
    (tree / "build/below/f").touch()
    _append(tree / "x.log")

    assert tree_watcher.holds(str(tree), token, ignored)
    assert not tree_watcher.holds(str(tree), token, NOTHING)
    _append(tree / "a/f")
    assert not tree_watcher.holds(str(tree), token, ignored)


def test_a_tree_in_which_changes_could_be_missed_has_no_guard(tree: Path, short_tmp: Path) -> None:
    tree_watcher = TreeWatcher()
    (short_tmp / "other").hardlink_to(tree / "f")
    assert tree_watcher.begin(str(tree), NOTHING) is None
    (short_tmp / "other").unlink()
    token = token_of(tree_watcher, tree)
    (short_tmp / "other").write_text("1")
    (tree / "linked").hardlink_to(short_tmp / "other")
    assert not tree_watcher.holds(str(tree), token, NOTHING)
    assert tree_watcher.begin(str(tree), NOTHING) is None
    (tree / "linked").unlink()
    (tree / "a/.git").mkdir()
    assert tree_watcher.begin(str(tree), NOTHING) is None
    assert tree_watcher.begin("/proc/self", NOTHING) is None


IN_ANOTHER_ROOT = """
import os, sys
from actors.git.tree_watch import Guards
os.chroot(sys.argv[1])
print(Guards().begin("/tree", frozenset()))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root")
def test_a_tree_is_guarded_where_the_list_of_mounts_does_not_tell_of_it(tree: Path) -> None:
    command = [sys.executable, "-c", IN_ANOTHER_ROOT, str(tree.parent)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert told.stdout == "1\n"


def test_guards_do_not_disturb_each_other(tree: Path, short_tmp: Path) -> None:
    tree_watcher = TreeWatcher()
    other = short_tmp / "another"
    other.mkdir()
    first, second = token_of(tree_watcher, tree), token_of(tree_watcher, other)
    (other / "new").touch()

    assert tree_watcher.holds(str(tree), first, NOTHING)
    assert not tree_watcher.holds(str(other), second, NOTHING)


def test_when_events_were_lost_no_token_holds(tree: Path) -> None:
    tree_watcher = TreeWatcher()
    token = token_of(tree_watcher, tree)
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most // 4 + 10):  # each comes and goes with several events
        path = tree / f"a/{number}"
        path.touch()
        path.unlink()
    (tree / "f").write_text("2")

    assert not tree_watcher.holds(str(tree), token, NOTHING)
    assert tree_watcher.holds(str(tree), token_of(tree_watcher, tree), NOTHING)
