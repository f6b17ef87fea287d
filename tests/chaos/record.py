"""The sum of a run's rounds, and its place in docs/reliability.md."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.chaos import promises
from tests.chaos.figures import Row, table
from tests.chaos.plan import Target
from tests.chaos.promises import Put

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by scripts/chaos --record -->", "<!-- end of what scripts/chaos made -->"


@dataclass(slots=True, kw_only=True)
class Total:
    """``seed`` is that of the first round; the others count on from it."""

    seed: int
    rows: dict[Target, Row]
    rounds: int = 0
    messages: int = 0
    """Accepted ones."""
    problems: list[str] = field(default_factory=list)
    put: Put = field(default_factory=Put)

    @property
    def summary(self) -> str:
        kills = sum(row.kills for row in self.rows.values())
        found = "nothing was found" if not self.problems else f"found: {len(self.problems)} problems"
        return f"{self.rounds} rounds from seed {self.seed}, {kills} kills, {self.messages} messages accepted: {found}."


def write(total: Total, page: Path = PAGE) -> None:
    """Replaces what stands between the marks of the page. Raises ``ValueError`` when it has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the marks between which the table goes")
    tables = [*promises.table(total.put, total.problems), "", *table(total.rows.values())]
    made = "\n".join(["", _machine(total.put), "", *tables, "", total.summary, *_found(total), ""])
    page.write_text(f"{before}{BEGIN}{made}{END}{after}")


def _found(total: Total) -> list[str]:
    return ["", *(f"- {problem}" for problem in total.problems)] if total.problems else []


def _machine(put: Put) -> str:
    load = f"; load average {min(put.loads):.0f} to {max(put.loads):.0f} at the end of the rounds" if put.loads else ""
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}; Python {platform.python_version()}, "
        f"Ray {version('ray')}{load}; {datetime.now(UTC):%Y-%m-%d}."
    )
