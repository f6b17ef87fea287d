"""The demo of a checkout: ``phalanx demo``, and for the real Claude Code without an account a stand-in of the API."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mcp_entry.cli.demo import CLAUDE_COMMAND, IDLE_WITH_AN_ACCOUNT_S, Play, account, console, own_variables, play
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

CLAUDE_IN_VENV = Path(__file__).resolve().parent.parent / ".venv/claude/newest/node_modules/.bin/claude"


@contextlib.contextmanager
def claude_environment(scratch: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment for Claude Code. Without an account it has a HOME in ``scratch``, and the stand-in."""
    own = own_variables(environment)
    if not shutil.which(own.get(CLAUDE_COMMAND, "claude")):
        own[CLAUDE_COMMAND] = str(CLAUDE_IN_VENV)
    if words := account(own):
        console.print(f"Claude Code works with your own account ({words}).")
        yield own
        return
    console.print("No account was found: Claude Code talks to a stand-in of the API on this machine.")
    neutral = {name: value for name, value in own.items() if not name.startswith(("ANTHROPIC_", "CLAUDE"))}
    with ApiStandIn() as standin:
        yield {**neutral, **standin_environment(standin.url, make_claude_home(scratch / "claude-home"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", choices=("demo", "claude"), default="demo")
    parser.add_argument("--size", type=int, choices=range(1, 21), default=4, metavar="1…20")
    options = parser.parse_args()
    if options.agent == "demo":
        return play(Play(agent="demo", size=options.size), own_variables(os.environ))
    with (
        tempfile.TemporaryDirectory(prefix="phx", dir="/tmp", ignore_cleanup_errors=True) as scratch,
        claude_environment(Path(scratch), os.environ) as environment,
    ):
        return play(Play(agent="claude", size=options.size, idle_s=IDLE_WITH_AN_ACCOUNT_S), environment)


if __name__ == "__main__":
    sys.exit(main())
