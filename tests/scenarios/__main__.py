"""``scripts/claude-check``: lives through all scenarios with a given Claude Code and says which held."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.scenarios import play_book
from tests.scenarios.running import play_all
from tests.scenarios.scenario import Outcome, Scenario, Verdict
from tests.scenarios.stage import set_up, version_of

_AT_ONCE = 8
_AGAIN = 8
"""As many failed ones are played once more with nothing beside them; with more it is no matter of chance."""
_RACE = ": it failed once beside others, so look for a race"


def main() -> int:
    """0 when none failed, 1 when one did, 2 when nothing could be tried, 130 when a person stopped it."""
    given = _arguments()
    scenarios = [each for each in play_book.ALL if not given.scenario or _is_meant(each, given.scenario)]
    if given.list:
        for each in scenarios:
            _say(f"{each.theme}: {each.sentence}")
        return 0
    if not scenarios:
        _say("claude-check: no scenario has that name; --list shows all")
        return 2
    found = shutil.which(given.program)
    if found is None:
        _say(f"claude-check: there is no program {given.program}")
        return 2
    try:
        version = version_of(Path(found))
    except (OSError, ValueError) as error:
        _say(f"claude-check: that is no Claude Code: {error}")
        return 2
    _say(f"Claude Code {version} ({found}): {len(scenarios)} scenarios, {given.at_once} at once")
    began = time.monotonic()
    try:
        outcomes = asyncio.run(_play(Path(found), scenarios, given.at_once))
    except KeyboardInterrupt:
        _say("claude-check: stopped by you; its team is down and its directory removed")
        return 130
    counted = Counter(each.verdict for each in outcomes)
    sums = ", ".join(f"{counted[verdict]} {verdict}" for verdict in Verdict)
    _say(f"Claude Code {version}: {sums} of {len(outcomes)}, in {time.monotonic() - began:.0f} s")
    return 1 if counted[Verdict.FAILED] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/claude-check",
        description="Lives through scenarios of everyday use with a Claude Code, in a temporary home and HOME, "
        "without network or account. Exits with 1 when one of them failed.",
    )
    parser.add_argument("program", nargs="?", default="claude", help="default: the claude on PATH")
    parser.add_argument("--scenario", action="append", help="only those with these words in it; may be repeated")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help=f"default {_AT_ONCE}")
    return parser.parse_args()


def _is_meant(scenario: Scenario, names: Sequence[str]) -> bool:
    return any(name.replace("_", " ").lower() in scenario.sentence.lower() for name in names)


async def _play(program: Path, scenarios: Sequence[Scenario], at_once: int) -> list[Outcome]:
    outcomes = []
    async with set_up(program) as stage:
        async for outcome in play_all(stage, scenarios, at_once):
            _say(str(outcome))
            outcomes.append(outcome)
        failed = [each for each in outcomes if each.verdict is Verdict.FAILED]
        if at_once == 1 or not 0 < len(failed) <= _AGAIN:
            return outcomes
        _say(f"once more, alone: {len(failed)}")
        alone = [outcome async for outcome in play_all(stage, [each.scenario for each in failed], at_once=1)]
        for outcome in alone:
            _say(f"{outcome}{_RACE if outcome.verdict is Verdict.HELD else ''}")
    return [each for each in outcomes if each.verdict is not Verdict.FAILED] + alone


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
