"""When a limit of Claude's ends, as Claude Code says it in the words of a failed turn; pure.

``claude_records`` calls ``reset_at``. The forms, read in the programs 2.1.197 and 2.1.332: ``You've hit your session
limit · resets 3pm (Europe/Berlin)``, more than a day ahead with the date (``resets Dec 3, 3:30pm (UTC)``), with the
year where it is another one, perhaps followed by more words; older versions wrote ``Claude AI usage limit
reached|1764500000``. Claude Code leaves out the seconds, and the minutes of a whole hour. Neither program names a
weekday or ``tomorrow``; ``resets in`` is said of its fast mode alone, whose end fails no turn.
"""

from __future__ import annotations

import datetime
import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]* (?P<day>\d{{1,2}})(?:, (?P<year>\d{{4}}))?"
_HOUR = r"(?P<hour>1[0-2]|0?[1-9])(?::(?P<minute>\d\d))? ?(?P<half>[ap])\.?m\b"
_RESETS = re.compile(rf"\bresets (?:{_DATE},? ?)?(?:at )?(?:{_HOUR})?(?: \((?P<zone>[^)]+)\))?", re.IGNORECASE)
_STAMP = re.compile(r"\blimit reached\|(\d{10})\b")
UNTOLD_S = 60.0
"""The seconds are not told, so the limit ends up to a minute after the time that is."""
_CLOCKS_DIFFER_S = 600.0
"""A time that has passed by so little is that of today: our clock may be ahead of the server's."""
_DAY_S = 86_400.0
_LONGEST_S = 40 * _DAY_S
"""No limit lasts longer: a time beyond that was read wrongly."""


def reset_at(text: str, at: float) -> float:
    """When the limit that these words tell of ends; 0 when they tell no time. ``at``: when they were said.

    Both in seconds since the epoch. It is after ``at``. Of several times the first: to try too early costs nothing.
    """
    words = " ".join(text.split())  # the blanks of a date may be narrow ones
    told = [float(stamp) for stamp in _STAMP.findall(words)]
    for found in _RESETS.finditer(words):
        try:
            time = _time_of(found, at)
        except ValueError:
            continue
        if time:
            told.append(time + UNTOLD_S)
    # A time that has passed is no news: then it is tried in a minute.
    ahead = [time if time > at else at + UNTOLD_S for time in told]
    return min((time for time in ahead if time - at < _LONGEST_S), default=0.0)


def _time_of(found: re.Match[str], at: float) -> float:
    """0 for words without a time. Raises ``ValueError`` for a date or time that is none."""
    if not found["month"] and not found["hour"]:
        return 0.0
    zone = _zone(found["zone"])
    said = datetime.datetime.fromtimestamp(at, zone)
    hour = int(found["hour"]) % 12 + (12 if found["half"].lower() == "p" else 0) if found["hour"] else 0
    clock = said.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
    if not found["month"]:
        if clock.timestamp() < at - _CLOCKS_DIFFER_S:
            clock += datetime.timedelta(days=1)
        return clock.timestamp()
    month, day = _MONTHS.index(found["month"].lower()[:3]) + 1, int(found["day"])
    date = clock.replace(year=int(found["year"] or said.year), month=month, day=day)
    if not found["year"] and date.timestamp() < at - _DAY_S:
        date = date.replace(year=said.year + 1)
    return date.timestamp()


def _zone(name: str | None) -> datetime.tzinfo | None:
    """The zone of this name; None, which is that of this machine, when there is none."""
    import zoneinfo  # noqa: PLC0415 - every instance would pay for it, and few ever meet a limit

    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return None
