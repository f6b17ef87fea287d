"""The program in docs/python.md, run as it stands there over a real team of demo agents."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.team import bring_up

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(240)


def test_the_program_of_the_documentation_builds_a_team_and_merges_its_work(
    make_short_tmp: Callable[[], Path], tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    script = tmp_path / "lead.py"
    script.write_text(program)
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    try:
        ran = subprocess.run(
            [sys.executable, "-X", "importtime", script, team.repository],
            env=dict(team.environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        team.runtime.down(lambda step: None)

    assert ran.returncode == 0, ran.stderr[-3000:]
    assert len(re.findall(r"^spec_\S+ says: ", ran.stdout, re.MULTILINE)) == 3
    assert re.search(r"^score: \d+", ran.stdout, re.MULTILINE)
    for number in (1, 2, 3):
        assert (team.repository / f"chapter-{number}.txt").read_text() == f"Chapter {number}.\n"
    assert not re.search(r"\| +ray$", ran.stderr, re.MULTILINE), "the client imports Ray"
