"""When a limit ends, by each form in which Claude Code says so."""

from __future__ import annotations

import datetime

import pytest

from actors.agents.claude_limits import UNTOLD_S, reset_at
from actors.agents.claude_records import read_event

NOON = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(seconds=UNTOLD_S)


def day(month: int, day: int, hour: int, minute: int = 0, year: int = 2026) -> datetime.datetime:
    return datetime.datetime(year, month, day, hour, minute, tzinfo=datetime.UTC)


def ends(text: str, at: datetime.datetime = NOON) -> datetime.datetime | None:
    found = reset_at(text, at.timestamp())
    return datetime.datetime.fromtimestamp(found, datetime.UTC) if found else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You've hit your session limit · resets 3pm (Europe/Berlin)", day(11, 30, 14)),
        ("You've hit your session limit · resets 3:30pm (Europe/Berlin)", day(11, 30, 14, 30)),
        ("You've hit your session limit · resets 3:30\u202fPM (Europe/Berlin)", day(11, 30, 14, 30)),
        ("You've hit your session limit · resets 12am (UTC) · progress saved", day(12, 1, 0)),
        ("You've hit your session limit · resets 12pm (America/New_York)", day(11, 30, 17)),
        ("You've hit your weekly limit · resets Dec 3, 3pm (UTC)", day(12, 3, 15)),
        ("You've hit your Opus limit · resets Dec 3, 3:05pm (Asia/Tokyo)", day(12, 3, 6, 5)),
        ("You've hit your usage limit · resets Jan 2, 2027, 9am (UTC)", day(1, 2, 9, year=2027)),
        ("You've hit your usage limit · resets Jan 2, 9am (UTC)", day(1, 2, 9, year=2027)),
        ("You've hit your group's pool. It resets Dec 3, 9am (UTC). Switch to another model", day(12, 3, 9)),
        ("monthly spend limit · resets Dec 9, 3pm (UTC) · your session limit resets 5pm (UTC)", day(11, 30, 17)),
        ("API Error: Request rejected (429) · spend limit reached · resets Dec 1", day(12, 1, 0)),
    ],
)
def test_the_minute_that_is_told_has_passed_when_it_ends(text: str, expected: datetime.datetime) -> None:
    if "(" not in text.replace("(429)", ""):  # without a zone it is this machine's
        expected = expected.replace(tzinfo=None).astimezone(datetime.UTC)
    assert ends(text) == expected + MINUTE


def test_a_number_of_seconds_since_the_epoch_is_exact() -> None:
    assert ends("Claude AI usage limit reached|1796047200") == day(11, 30, 14)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "API Error: Request rejected (429) · demo",
        "You've hit your session limit",
        "resets soon (UTC)",
        "resets Feb 31, 3pm (UTC)",
        "resets 77pm (UTC)",
        "Claude AI usage limit reached|9999999999",
        "the tool resets 3 counters",
    ],
)
def test_words_without_a_time_that_can_be_tell_none(text: str) -> None:
    assert ends(text) is None


def test_an_unknown_zone_is_taken_for_that_of_the_machine() -> None:
    assert ends("resets 3pm (Mars/Olympus)") == ends("resets 3pm")


@pytest.mark.parametrize("text", ["resets 11:55am (UTC)", "usage limit reached|1796039000", "resets 12pm (UTC)"])
def test_a_time_that_has_just_passed_is_tried_in_a_minute(text: str) -> None:
    assert ends(text) == NOON + MINUTE


def test_a_time_that_has_long_passed_is_that_of_tomorrow() -> None:
    assert ends("resets 11:30am (UTC)") == day(12, 1, 11, 30) + MINUTE


def test_only_a_turn_that_failed_at_a_limit_tells_when_that_ends() -> None:
    words = b'"last_assistant_message": "limit \xc2\xb7 resets 3pm (UTC)", "phalanx_at": 1796040000.5'
    limited = read_event(b'{"hook_event_name": "StopFailure", "error": "rate_limit", ' + words + b"}")
    broken = read_event(b'{"hook_event_name": "StopFailure", "error": "server_error", ' + words + b"}")

    assert limited is not None
    assert broken is not None
    assert (limited.rate_limited, limited.resets_at) == (True, (day(11, 30, 15) + MINUTE).timestamp())
    assert (broken.rate_limited, broken.resets_at) == (False, 0.0)
