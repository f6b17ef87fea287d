"""``scripts/claude-check`` is for people: it needs nothing but what running a team needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60


def test_it_imports_none_of_the_tools_for_development() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    tools = {requirement.partition(">")[0].replace("-", "_") for requirement in groups["dev"]}
    program = "import sys, tests.scenarios.__main__; print(*sys.modules)"

    ran = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_S
    )

    assert not tools & {name.partition(".")[0] for name in ran.stdout.split()}


def test_it_lists_the_scenarios_and_refuses_what_is_no_claude_code() -> None:
    listed = _check("--list")
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) >= 60

    refused = _check("/bin/true")
    assert refused.returncode == 2
    assert "that is no Claude Code" in refused.stdout

    assert _check("--scenario", "no such words").returncode == 2
    assert "there is no program" in _check("/nowhere/claude").stdout


def _check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.scenarios", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT_S,
    )
