"""A HOME in which the real Claude Code starts without a network, an account or a question."""

from __future__ import annotations

import json
from pathlib import Path

STANDIN_KEY = "sk-ant-api03-standin-0000000000000000000000000000"
"""No secret: only the stand-in ever sees it."""


def make_claude_home(home: Path) -> Path:
    """A fresh HOME whose Claude Code is past its onboarding; nothing in it is trusted yet."""
    home.mkdir(parents=True, exist_ok=True)
    settings = {"hasCompletedOnboarding": True, "customApiKeyResponses": {"approved": [STANDIN_KEY[-20:]]}}
    (home / ".claude.json").write_text(json.dumps(settings))
    (home / ".gitconfig").write_text("[user]\n\tname = Stand In\n\temail = standin@example.invalid\n")
    return home


def standin_environment(url: str, home: Path) -> dict[str, str]:
    """What a Claude Code needs in its environment to talk to the stand-in at ``url`` and to nobody else."""
    return {
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": STANDIN_KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
