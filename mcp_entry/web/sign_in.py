"""Who may use the team's page: one-time links, and the sessions of browsers that came by one.

``phalanx dashboard`` makes a link, ``browser`` uses it up and asks for the session of each request. Both are secrets of
32 random bytes. The directory ``web-sessions`` of the home (0700) holds a 0600 file for each, named by its hash, with
the time when it ends; a secret itself is stored nowhere. So they outlive a killed endpoint, two processes agree on
them, and ``phalanx down`` ends all of them by removing the directory. A link opens one session: whoever removes its
file first has it. All functions read or write files; an event loop calls them in a thread.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from actors.errors import SettingsError
from actors.files import in_words, write_private
from actors.home import Home

LINK_S = 300.0
SESSION_S = 30 * 86_400.0
"""Since it was last used."""
_RENEWED_AFTER_S = 86_400.0
_SECRET_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_LINK, _SESSION = "link-", "session-"


def make_link(home: Home) -> str:
    """The secret of a new one-time link, good for ``LINK_S``. Raises ``SettingsError``."""
    return _made(home, _LINK, LINK_S)


def use_link(home: Home, secret: str) -> str | None:
    """The secret of a new session; None when there is no such link, or it was used or has ended. Of callers at the same
    moment, one gets the session. Raises ``SettingsError``; then the link is used up."""
    path = _path(home, _LINK, secret)
    if path is None or _left_s(path) <= 0:
        return None
    try:
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} cannot be removed: {in_words(error)}") from error
    return _made(home, _SESSION, SESSION_S)


def is_session(home: Home, secret: str) -> bool:
    """Whether a browser is signed in by this secret. Its use puts off the end of the session."""
    path = _path(home, _SESSION, secret)
    if path is None or (left_s := _left_s(path)) <= 0:
        return False
    if left_s < SESSION_S - _RENEWED_AFTER_S:
        with suppress(SettingsError):  # a full disk does not sign anybody out
            _write_end(path, SESSION_S)
    return True


def _made(home: Home, kind: str, life_s: float) -> str:
    _remove_ended(home)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    _write_end(home.web_sessions / (kind + _hashed(secret)), life_s)
    return secret


def _remove_ended(home: Home) -> None:
    """Makes the directory too. Raises ``SettingsError``."""
    try:
        home.web_sessions.mkdir(mode=0o700, exist_ok=True)
        home.web_sessions.chmod(0o700)
        for path in home.web_sessions.iterdir():
            if path.name.startswith((_LINK, _SESSION)) and _left_s(path) <= 0:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{home.web_sessions} cannot be used: {in_words(error)}") from error


def _write_end(path: Path, life_s: float) -> None:
    """Raises ``SettingsError``."""
    write_private(path, str(time.time() + life_s))


def _left_s(path: Path) -> float:
    """Until it ends; 0 when it is not there or cannot be read."""
    try:
        left_s = float(path.read_text()) - time.time()
    except (OSError, ValueError):
        return 0.0
    return left_s if left_s > 0 else 0.0  # also of "nan"


def _path(home: Home, kind: str, secret: str) -> Path | None:
    """None for what cannot be a secret, so that nobody's word becomes the name of a file."""
    return home.web_sessions / (kind + _hashed(secret)) if _SECRET.fullmatch(secret) else None


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
