"""The secret by which Prometheus reads the team's figures: the file ``metrics-token`` in the home, 0600.

The bring-up makes it once; it outlives teams, as Prometheus has its path in a configuration. The endpoint compares what
a scrape gives. Who has it reads figures and nothing else.
"""

from __future__ import annotations

import hmac
import secrets

from actors.files import write_private
from actors.home import Home

_TOKEN_BYTES = 32


def keep_scrape_token(home: Home) -> None:
    """Makes it if there is none. Raises ``SettingsError``."""
    if not home.metrics_token_file.exists():
        write_private(home.metrics_token_file, secrets.token_urlsafe(_TOKEN_BYTES))


def is_scrape_token(home: Home, given: str) -> bool:
    """False for every token of a home that has none. Reads a file: an event loop calls it in a thread."""
    try:
        kept = home.metrics_token_file.read_bytes().strip()
    except OSError:
        return False
    return bool(kept) and hmac.compare_digest(kept, given.encode(errors="replace"))
