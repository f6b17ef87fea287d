"""The home of a team: which directory may be one, its format and identity, who leads it, what its agents run with."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from actors.errors import SettingsError
from actors.files import UNFINISHED
from actors.home import (
    FORMAT,
    TAG_NAME,
    Home,
    TeamIdentity,
    leader_of,
    led_node_from,
    prepare_home,
    read_environment,
    team_leader_of,
    write_environment,
)
from actors.marks import TEAM_MARK


@pytest.fixture
def home(short_tmp: Path) -> Home:
    return Home(short_tmp / "h")


@pytest.fixture
def made(home: Home) -> Home:
    home.create()
    return home


def tag_of(home: Home) -> Path:
    return home.root / TAG_NAME


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_made_private_and_may_be_made_again(made: Home) -> None:
    (made.root / "anything").touch()
    made.create()

    assert {mode_of(each) for each in (made.root, made.worktrees, made.instances, made.logs)} == {0o700}


def test_a_home_that_holds_only_a_configuration_yet_is_taken(short_tmp: Path) -> None:
    home = Home(short_tmp)
    home.config_file.touch()

    home.create()

    assert home.logs.is_dir()


def test_a_directory_of_something_else_is_never_taken_for_a_home(short_tmp: Path) -> None:
    (short_tmp / "ray").mkdir()
    short_tmp.chmod(0o755)

    with pytest.raises(SettingsError, match=r"something else \(it holds ray\)"):
        Home(short_tmp).create()

    assert mode_of(short_tmp) == 0o755
    assert [path.name for path in short_tmp.iterdir()] == ["ray"]


@pytest.mark.parametrize(
    ("name", "words"), [("x" * 40, "too long for Unix sockets"), ("file/home", "cannot be used: Not a directory")]
)
def test_a_path_that_cannot_be_a_home_is_refused_before_anything_is_made(
    short_tmp: Path, name: str, words: str
) -> None:
    (short_tmp / "file").touch()

    with pytest.raises(SettingsError, match=words):
        Home(short_tmp / name).create()

    assert [path.name for path in short_tmp.iterdir()] == ["file"]


def test_a_home_has_a_private_tag_with_its_format_and_an_identity_of_its_own_that_stays(
    made: Home, short_tmp: Path
) -> None:
    first = made.identity
    made.create()
    other = Home(short_tmp / "o")
    other.create()

    assert made.identity == first
    assert len(first) == 32
    assert json.loads(tag_of(made).read_text()) == {"format": FORMAT, "identity": first}
    assert mode_of(tag_of(made)) == 0o600
    assert other.identity != first


def test_a_home_of_the_first_format_is_upgraded_in_place(made: Home) -> None:
    tag_of(made).write_text("")
    (made.instances / "spec_0_0_1").mkdir()

    made.create()

    assert json.loads(tag_of(made).read_text())["format"] == FORMAT
    assert made.identity
    assert (made.instances / "spec_0_0_1").is_dir()


@pytest.mark.parametrize("content", ["", None])
def test_who_come_at_the_same_moment_all_get_the_home_and_agree_on_its_identity(
    short_tmp: Path, content: str | None
) -> None:
    together = Barrier(4)

    def create(home: Home) -> str:
        together.wait(timeout=10)
        home.create()
        return home.identity

    with ThreadPoolExecutor(4) as threads:
        for number in range(60):
            home = Home(short_tmp / str(number))
            if content is not None:
                home.root.mkdir()
                tag_of(home).write_text(content)
            assert len(set(threads.map(create, [home] * 4))) == 1


def test_a_home_of_a_newer_version_is_refused_and_left_untouched(home: Home) -> None:
    home.root.mkdir(mode=0o750)
    text = json.dumps({"format": FORMAT + 1, "identity": "x", "more": True})
    tag_of(home).write_text(text)

    with pytest.raises(SettingsError, match=f"newer version of Phalanx .format {FORMAT + 1}"):
        home.create()

    assert [path.name for path in home.root.iterdir()] == [TAG_NAME]
    assert tag_of(home).read_text() == text
    assert mode_of(home.root) == 0o750


@pytest.mark.parametrize("content", ["{", "[]", "2", '{"format": "2"}', '{"format": -1}', '{"identity": "x"}', "\xff"])
def test_a_damaged_tag_is_told_and_left_as_it_is(made: Home, content: str) -> None:
    tag_of(made).write_text(content)

    with pytest.raises(SettingsError, match="damaged"):
        made.create()

    assert tag_of(made).read_text() == content


def test_an_identity_is_asked_of_a_home_only(short_tmp: Path) -> None:
    with pytest.raises(SettingsError, match="not the home of a team yet"):
        assert Home(short_tmp).identity


def test_a_tag_that_was_half_written_by_a_crash_does_not_keep_the_home_from_being_made(home: Home) -> None:
    home.root.mkdir()
    (home.root / f"{TAG_NAME}{UNFINISHED}").write_text('{"form')

    home.create()

    assert home.identity
    assert not (home.root / f"{TAG_NAME}{UNFINISHED}").exists()


def test_a_home_of_its_own_is_led_by_nobody(made: Home) -> None:
    assert leader_of(made) == team_leader_of(made) == ""


def test_a_home_that_is_made_ready_for_another_host_s_team_is_led_from_there(made: Home) -> None:
    prepare_home(made, TeamIdentity(team_id="abc", address="10.0.0.1"))

    assert leader_of(made) == team_leader_of(made) == "10.0.0.1"
    assert mode_of(made.leader_file) == 0o600
    assert json.loads(made.environment_file.read_text())[TEAM_MARK] == "abc"


def test_a_worker_of_a_cluster_is_led_from_its_head_before_there_is_a_team(made: Home) -> None:
    made.node_directory.mkdir()
    led_node_from(made, "10.0.0.1")

    assert leader_of(made) == "10.0.0.1"
    assert team_leader_of(made) == ""

    led_node_from(made, "")
    assert leader_of(made) == ""


def test_a_worker_from_which_a_team_was_brought_up_leads_it_itself(made: Home) -> None:
    made.node_directory.mkdir()
    led_node_from(made, "10.0.0.1")
    made.team_file.write_text("{}")

    assert leader_of(made) == ""


def test_what_was_written_is_read_by_its_user_alone(made: Home) -> None:
    write_environment(made, {"PATH": "/bin", "KEY": "sk-1"})
    assert read_environment(made) == {"PATH": "/bin", "KEY": "sk-1"}
    assert mode_of(made.environment_file) == 0o600


@pytest.mark.parametrize("damage", [None, "", "{", "[]", '{"PATH": 1}', "\udcff"])
def test_a_lost_or_damaged_file_is_told_with_what_to_do_and_without_its_content(made: Home, damage: str | None) -> None:
    if damage is not None:
        made.environment_file.write_bytes(damage.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError, match=r"environment.json.*cannot be read.*phalanx up --resume"):
        read_environment(made)
