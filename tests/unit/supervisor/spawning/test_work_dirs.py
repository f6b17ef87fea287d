from __future__ import annotations

import threading
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError
from actors.home import Home
from supervisor.spawning import admission
from supervisor.spawning.admission import WorkDirPolicy


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A user's home with Phalanx's home, projects and a way out of them."""
    for directory in ("user/.phalanx/worktrees/spec_0_0_1", "user/.phalanx/instances", "user/src/shop", "other/shop"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "user/src/away").symlink_to(tmp_path / "other")
    (tmp_path / "user/src/loop").symlink_to(tmp_path / "user/src/loop")
    (tmp_path / "user/src/a file").write_text("")
    (tmp_path / "user/src-of-somebody").mkdir()
    return tmp_path


def policy(place: Path, *allowed: str) -> WorkDirPolicy:
    return WorkDirPolicy(Home(place / "user/.phalanx"), place / "user", [place / one for one in allowed])


@pytest.mark.parametrize("directory", ["user/src/shop", "other/shop", "user/.phalanx/worktrees/spec_0_0_1"])
def test_without_a_limit_every_project_and_worktree_may_be_worked_on(place: Path, directory: str) -> None:
    assert policy(place).check(str(place / directory)) == place / directory


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("user", "too wide"),
        ("user/src/..", "too wide"),
        ("user/.phalanx", "belongs to Phalanx"),
        ("user/.phalanx/instances", "belongs to Phalanx"),
        ("user/src/missing", "not a directory"),
        ("user/src/a file", "not a directory"),
        ("user/src/loop", "cannot be used|not a directory"),
        ("user/src/shop\0", "absolute path"),
    ],
)
def test_what_is_no_project_is_refused_in_words(place: Path, directory: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        policy(place).check(f"{place}/{directory}")


@pytest.mark.parametrize(("work_dir", "words"), [("/", "too wide"), ("src/shop", "absolute"), ("~/src", "absolute")])
def test_the_whole_machine_and_relative_paths_are_refused(place: Path, work_dir: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        policy(place).check(work_dir)


@pytest.mark.parametrize("directory", ["user/src", "user/src/shop", "user/.phalanx/worktrees/spec_0_0_1"])
def test_inside_what_is_allowed_and_in_worktrees_of_the_team_one_may_work(place: Path, directory: str) -> None:
    assert policy(place, "user/src", "other/none").check(str(place / directory)) == place / directory


@pytest.mark.parametrize(
    "directory", ["other/shop", "user/src/../src-of-somebody", "user/src/away/shop", "user/src-of-somebody"]
)
def test_outside_of_what_is_allowed_the_refusal_names_what_is(place: Path, directory: str) -> None:
    with pytest.raises(InvalidRequestError, match="outside what is allowed") as refused:
        policy(place, "user/src").check(f"{place}/{directory}")
    assert str(place / "user/src") in str(refused.value)
    assert "allowed_work_dirs" in str(refused.value)


def test_an_allowed_directory_may_itself_be_reached_by_a_link(place: Path) -> None:
    assert policy(place, "user/src/away").check(str(place / "other/shop")) == place / "other/shop"


@pytest.mark.real_time
async def test_a_directory_whose_file_system_hangs_is_refused_and_holds_up_nobody(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    checked = policy(place)
    monkeypatch.setattr(admission, "ANSWERS_S", 0.05)
    monkeypatch.setattr(checked, "check", lambda *_: answers.wait(20))
    with pytest.raises(InvalidRequestError, match="hangs"):
        await checked.checked(str(place / "user/src/shop"))
    answers.set()


async def test_a_directory_that_answers_is_given_as_it_is(place: Path) -> None:
    assert await policy(place).checked(str(place / "other/shop")) == place / "other/shop"
