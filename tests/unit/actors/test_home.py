from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from actors.errors import SettingsError
from actors.home import Home


def test_a_home_is_made_private_and_may_be_made_again(short_tmp: Path) -> None:
    home = Home(short_tmp / "home")

    home.create()
    (home.root / "anything").touch()
    home.create()

    for directory in (home.root, home.worktrees, home.instances, home.logs):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_many_who_make_a_home_at_the_same_moment_all_get_it(short_tmp: Path) -> None:
    together = Barrier(4)

    def create(home: Home) -> None:
        together.wait(timeout=10)
        home.create()

    with ThreadPoolExecutor(4) as threads:
        for number in range(300):
            list(threads.map(create, [Home(short_tmp / str(number))] * 4))


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

    assert stat.S_IMODE(short_tmp.stat().st_mode) == 0o755
    assert [path.name for path in short_tmp.iterdir()] == ["ray"]


def test_a_path_too_long_for_unix_sockets_is_refused_before_anything_is_made(short_tmp: Path) -> None:
    home = Home(short_tmp / ("x" * 40))

    with pytest.raises(SettingsError, match="too long for Unix sockets"):
        home.create()

    assert list(short_tmp.iterdir()) == []


def test_a_home_that_cannot_be_written_is_refused(short_tmp: Path) -> None:
    (short_tmp / "file").touch()

    with pytest.raises(SettingsError, match="cannot be used: Not a directory"):
        Home(short_tmp / "file" / "home").create()
