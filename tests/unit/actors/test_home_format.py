"""The tag of a home: what says that a directory is one, which form it has, and which home it is."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from actors.errors import SettingsError
from actors.files import UNFINISHED
from actors.home import FORMAT, TAG_NAME, Home


@pytest.fixture
def home(short_tmp: Path) -> Home:
    return Home(short_tmp / "h")


def tag_of(home: Home) -> Path:
    return home.root / TAG_NAME


def test_a_home_has_a_private_tag_with_its_format_and_an_identity_that_stays(home: Home) -> None:
    home.create()
    first = home.identity
    home.create()

    assert home.identity == first
    assert len(first) == 32
    assert json.loads(tag_of(home).read_text()) == {"format": FORMAT, "identity": first}
    assert stat.S_IMODE(tag_of(home).stat().st_mode) == 0o600


def test_two_homes_have_two_identities(short_tmp: Path) -> None:
    homes = [Home(short_tmp / name) for name in ("a", "b")]
    for home in homes:
        home.create()

    assert homes[0].identity != homes[1].identity


def test_a_home_of_the_first_format_is_upgraded_in_place(home: Home) -> None:
    home.create()
    tag_of(home).write_text("")
    (home.instances / "spec_0_0_1").mkdir()

    home.create()

    assert json.loads(tag_of(home).read_text())["format"] == FORMAT
    assert home.identity
    assert (home.instances / "spec_0_0_1").is_dir()


@pytest.mark.parametrize("content", ["", None])
def test_who_come_at_the_same_moment_agree_on_the_identity(short_tmp: Path, content: str | None) -> None:
    together = Barrier(4)

    def create(home: Home) -> str:
        together.wait(timeout=10)
        home.create()
        return home.identity

    with ThreadPoolExecutor(4) as threads:
        for number in range(100):
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
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o750


@pytest.mark.parametrize("content", ["{", "[]", "2", '{"format": "2"}', '{"format": -1}', '{"identity": "x"}', "\xff"])
def test_a_damaged_tag_is_told_and_left_as_it_is(home: Home, content: str) -> None:
    home.create()
    tag_of(home).write_text(content)

    with pytest.raises(SettingsError, match="damaged"):
        home.create()

    assert tag_of(home).read_text() == content


def test_an_identity_is_asked_of_a_home_only(short_tmp: Path) -> None:
    with pytest.raises(SettingsError, match="not the home of a team yet"):
        assert Home(short_tmp).identity


def test_a_tag_that_was_half_written_by_a_crash_does_not_keep_the_home_from_being_made(home: Home) -> None:
    home.root.mkdir()
    (home.root / f"{TAG_NAME}{UNFINISHED}").write_text('{"form')

    home.create()

    assert home.identity
    assert not (home.root / f"{TAG_NAME}{UNFINISHED}").exists()
