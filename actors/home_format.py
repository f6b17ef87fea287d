"""Which form a home has on disk, and how one that an earlier version made is brought to today's.

``Home.create`` calls this for every home before anything in it is used. The tag file says that a directory is a home,
so that no other directory is ever taken for one. Format 1: an empty tag. Format 2: JSON with the format and the
home's identity, a random name of its own for what the home keeps elsewhere. A format that is not known is refused and
left untouched.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.errors import SettingsError
from actors.private_files import write_private

TAG_NAME = "phalanx-home"
FORMAT = 2
_LOCK_PATIENCE_S = 10.0
_POLL_S = 0.005
_Tag = dict[str, Any]


def bring_up_to_date(root: Path) -> None:
    """Tags a new home, upgrades an older one; whoever else does so at the same time is waited for.

    Raises ``SettingsError`` for a home of a newer version, one whose tag is damaged, and one that cannot be written.
    """
    if _read_if_there(root).get("format") == FORMAT:
        return
    with _alone(root):
        before = tag = _read_if_there(root)
        for number in range(_number(tag), FORMAT):
            tag = _UPGRADES[number](root, tag)
        if tag != before:
            write_private(root / TAG_NAME, json.dumps(tag))


def identity(root: Path) -> str:
    """Raises ``SettingsError`` when the home was not created."""
    try:
        return str(_read(root)["identity"])
    except (FileNotFoundError, KeyError):
        raise SettingsError(f"{root} is no home of a team yet: `phalanx up` makes it one.") from None


def _to_1(_root: Path, _tag: _Tag) -> _Tag:
    return {"format": 1}


def _to_2(_root: Path, tag: _Tag) -> _Tag:
    return {**tag, "format": 2, "identity": secrets.token_hex(16)}


_UPGRADES: Mapping[int, Callable[[Path, _Tag], _Tag]] = {0: _to_1, 1: _to_2}
"""By the format that each begins with. A step may be begun again after a crash: the tag is written last."""


def _read_if_there(root: Path) -> _Tag:
    try:
        return _read(root)
    except FileNotFoundError:
        return {"format": 0}


def _read(root: Path) -> _Tag:
    path = root / TAG_NAME
    text = path.read_text(errors="replace")
    try:
        tag = json.loads(text) if text.strip() else {"format": 1}
        number = _number(tag)
    except (ValueError, TypeError, KeyError):
        raise SettingsError(
            f"{path} is damaged: it does not say which format the home has. Put back a copy of this file, or set "
            "PHALANX_HOME elsewhere."
        ) from None
    if number > FORMAT:
        raise SettingsError(
            f"{root} was made by a newer version of Phalanx (format {number}, this one knows up to {FORMAT}). "
            "Install that version, or set PHALANX_HOME elsewhere. Nothing was changed."
        )
    return dict(tag)


def _number(tag: Any) -> int:
    number = tag["format"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise TypeError
    return number


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """The directory itself is the lock: it is there before any file of the home."""
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _take(directory, root)
        yield
    finally:
        os.close(directory)


def _take(directory: int, root: Path) -> None:
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"Another process has kept {root} locked for {_LOCK_PATIENCE_S:.0f} s: end it, then try again."
                ) from None
            time.sleep(_POLL_S)
        else:
            return
