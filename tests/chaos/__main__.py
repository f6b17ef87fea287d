"""``scripts/chaos``: round after round on fresh teams for as long as it is told to, then the table."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.chaos import promises, record
from tests.chaos.crews import claude_crew
from tests.chaos.figures import Row, rows_of, table
from tests.chaos.plan import AIMS_IN_A_TREE, TARGETS_IN_A_TREE, Target, plan_kills
from tests.chaos.play import Outcome, RoundPlan, play
from tests.chaos.tree import TREE
from tests.standin.api import ApiStandIn

_KILLS = 40
_CLAUDES = 4
_A_TREES_MESSAGES = 10
"""Each message in a tree makes about that many turns: of who gets it, of whom that calls, and of their leads."""
_WITHOUT_REDIS = {Target.REDIS, Target.REDIS_EMPTIED, Target.REDIS_STALLED, Target.EVERYTHING}


def main() -> int:
    """0 when no round found anything."""
    given = _arguments()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    _say(f"seed {seed}")
    until = time.monotonic() + 60 * given.minutes
    total = record.Total(seed=seed, rows={target: Row(target) for target in Target})
    while not total.rounds or time.monotonic() < until:
        plan, outcome = _round(given, seed + total.rounds, total.rounds + 1)
        _say(str(outcome))
        _take(total, outcome, len(plan.places))
        if outcome.problems and given.stop:
            break
    tables = [*promises.table(total.put, total.problems), "", *table(total.rows.values())]
    _say("\n".join(["", *tables, "", total.summary]))
    if given.record:
        record.write(total)
    return 1 if total.problems else 0


def _round(given: argparse.Namespace, seed: int, number: int) -> tuple[RoundPlan, Outcome]:
    """In a tree nobody sits at terminals: what a person interrupts, an agent does not do. Real Claudes cost more, so
    they are fewer and get a tenth of the messages."""
    plan = RoundPlan(
        seed=seed,
        kills=plan_kills(seed, given.kills, given.only or tuple(Target)),
        output=given.output / f"seed-{seed}",
        instances=given.instances,
        messages=given.messages,
        limit_s=given.limit,
        spares=given.spares,
        people=given.people,
    )
    if given.tree_every and number % given.tree_every == 0:
        kills = plan_kills(seed, given.kills, given.only or TARGETS_IN_A_TREE, aims=AIMS_IN_A_TREE)
        plan = replace(plan, kills=kills, tree=TREE, messages=plan.messages // _A_TREES_MESSAGES, people=0, spares=0)
        return plan, asyncio.run(play(plan))
    if given.claude is None or number % given.claude_every:
        return plan, asyncio.run(play(plan))
    with ApiStandIn() as api, tempfile.TemporaryDirectory(prefix="pcc", dir="/tmp") as directory:
        crew = claude_crew(given.claude.resolve(), api.url, Path(directory) / "user")
        instances, messages = min(plan.instances, _CLAUDES), plan.messages // 10
        plan = replace(plan, crew=crew, instances=instances, messages=messages, spares=0)
        return plan, asyncio.run(play(plan))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description="Kills parts of a working team; see tests/chaos."
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="begin no further round after that; default 2")
    parser.add_argument("--seed", type=int, help="of the first round, later ones count on; default: a new one")
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--messages", type=int, default=2000, help="in each round")
    parser.add_argument("--spares", type=int, default=0, help="spare agents that are kept ready; default 0")
    parser.add_argument("--people", type=int, default=2, help="who sit at terminals, at most 4; default 2")
    parser.add_argument("--claude", type=Path, help="a Claude Code to play some rounds with; default: none")
    parser.add_argument(
        "--claude-every", type=int, default=4, help="which rounds are played with it; default 4: each 4th"
    )
    parser.add_argument(
        "--tree-every",
        type=int,
        default=3,
        help="which rounds are played with twelve that lead each other; default 3: each 3rd; 0: none",
    )
    parser.add_argument("--kills", type=int, default=_KILLS, help=f"in each round; default {_KILLS}")
    parser.add_argument("--only", type=_target, action="append", help="kill only this; may be given several times")
    parser.add_argument(
        "--output", type=Path, default=Path("build/chaos"), help="ledgers and logs; default build/chaos"
    )
    parser.add_argument("--limit", type=float, default=60.0, help="s from the last kill until all is well; default 60")
    parser.add_argument("--stop", action="store_true", help="stop after the first round that finds something")
    parser.add_argument("--record", action="store_true", help="write the table into docs/reliability.md")
    return parser.parse_args()


def _target(name: str) -> Target:
    found = [target for target in Target if name.lower() in (target.name.lower(), target.value.lower())]
    if not found:
        raise argparse.ArgumentTypeError(f"not one of {', '.join(target.name.lower() for target in Target)}")
    return found[0]


def _take(total: record.Total, outcome: Outcome, instances: int) -> None:
    ledger = outcome.ledger
    fates = ledger.fates.values()
    for target, row in rows_of(ledger.kills, ledger.probes, fates, outcome.arrivals).items():
        total.rows[target].take(row)
    total.rounds += 1
    total.messages += len(ledger.accepted)
    total.problems += [f"seed {outcome.seed}: {problem}" for problem in outcome.problems]
    put, kills = total.put, [kill for kill in ledger.kills if kill.found]
    put.rounds += 1
    put.accepted += len(ledger.accepted)
    put.agents += instances
    put.looks += sum(probe.answered for probe in ledger.probes)
    put.kills += len(kills)
    put.visits += ledger.visits
    put.decisions += ledger.decisions
    put.while_calling += sum(bool(kill.calling) for kill in kills)
    put.words += len(outcome.errands.words)
    put.hands += len(outcome.errands.hands)
    put.while_typing += sum(bool(kill.being_typed) for kill in kills)
    put.redis_away += sum(kill.target in _WITHOUT_REDIS for kill in kills)
    put.loads.append(outcome.load)
    put.recovered_s += [] if outcome.recovered_s is None else [outcome.recovered_s]


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
