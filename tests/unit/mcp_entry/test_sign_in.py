"""Links and sessions of the team's page: good once, good for a time, and nowhere in the clear."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.errors import SettingsError
from actors.home import Home
from mcp_entry.web.sign_in import LINK_S, SESSION_S, is_session, make_link, use_link


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def _signed_in(home: Home) -> str:
    session = use_link(home, make_link(home))
    assert session is not None
    return session


def test_a_link_opens_one_session(home: Home) -> None:
    link = make_link(home)
    session = use_link(home, link)
    assert session
    assert is_session(home, session)
    assert use_link(home, link) is None
    assert not is_session(home, link)
    assert use_link(home, session) is None


@pytest.mark.real_time
def test_of_twenty_that_use_a_link_at_the_same_moment_one_is_signed_in(home: Home) -> None:
    link = make_link(home)
    with ThreadPoolExecutor(20) as pool:
        sessions = list(pool.map(lambda _: use_link(home, link), range(20)))
    assert sum(session is not None for session in sessions) == 1


def test_a_link_that_is_too_old_opens_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    link = make_link(home)
    _later(monkeypatch, LINK_S + 1)
    assert use_link(home, link) is None


def test_a_session_ends_when_it_was_not_used_for_long_and_its_use_puts_that_off(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, unused = _signed_in(home), _signed_in(home)
    _later(monkeypatch, SESSION_S * 0.9)
    assert is_session(home, used)
    _later(monkeypatch, SESSION_S * 0.9)
    assert is_session(home, used)
    assert not is_session(home, unused)


def test_what_has_ended_is_removed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    make_link(home)
    _signed_in(home)
    assert len(list(home.web_sessions.iterdir())) == 2
    _later(monkeypatch, SESSION_S + 1)
    make_link(home)
    assert len(list(home.web_sessions.iterdir())) == 1


def test_no_secret_is_stored_and_nobody_else_can_read_the_files(home: Home) -> None:
    secrets = [make_link(home), _signed_in(home)]
    assert home.web_sessions.stat().st_mode & 0o777 == 0o700
    for path in home.web_sessions.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert not any(secret in path.name + path.read_text() for secret in secrets)


def test_a_session_of_one_home_opens_no_other(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.root.mkdir()
    make_link(other)
    assert not is_session(other, _signed_in(home))
    assert use_link(other, make_link(home)) is None


@pytest.mark.parametrize("secret", ["", "x", "../../../../etc/passwd", "a" * 43, "a" * 10_000, "\x00" * 43, "ü" * 43])
def test_a_word_of_nobody_opens_nothing(home: Home, secret: str) -> None:
    make_link(home)
    assert use_link(home, secret) is None
    assert not is_session(home, secret)


@pytest.mark.parametrize("text", ["", "nan", "soon", "\x00"])
def test_a_damaged_file_signs_nobody_in(home: Home, text: str) -> None:
    session = _signed_in(home)
    (path,) = home.web_sessions.iterdir()
    path.write_text(text)
    assert not is_session(home, session)


def test_a_home_that_cannot_be_written_is_told_in_words(home: Home) -> None:
    home.web_sessions.write_text("")
    with pytest.raises(SettingsError, match=r"web-sessions cannot be used"):
        make_link(home)
