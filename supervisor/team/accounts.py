"""Which account of Anthropic an instance uses, told apart by what its environment says; pure.

A rate limit is one of the account, so all instances with the same account meet it together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

_NAMES = (
    "CLAUDE_CONFIG_DIR",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
)


def account_of(environment: Mapping[str, str]) -> str:
    """A hash of what an instance is given of its own; empty for the account of the team's environment."""
    own = [f"{name}={environment[name]}" for name in _NAMES if name in environment]
    return hashlib.sha256("\n".join(own).encode(errors="surrogatepass")).hexdigest()[:32] if own else ""
