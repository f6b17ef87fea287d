"""The table of methods in docs/python.md, held against the code."""

from __future__ import annotations

import re
from pathlib import Path

from supervisor.api import requests
from supervisor.api.verbs import VERBS
from supervisor.rpc.client import SupervisorClient

GUIDE = (Path(__file__).resolve().parents[4] / "docs" / "python.md").read_text()
ROWS = [
    line.strip("|").split("|") for line in GUIDE.split("\n## The verbs\n")[1].splitlines() if line.startswith("| `")
]
METHODS = [name for row in ROWS for name in re.findall(r"`(\w+)`", row[0])]
FOR_PHALANX_DOWN = {"shutdown"}
"""`phalanx down` calls it, and then ends Ray and the tmux server, which the client cannot."""


def test_the_table_names_every_verb_once() -> None:
    assert len(METHODS) == len(set(METHODS))
    assert VERBS.keys() - METHODS == FOR_PHALANX_DOWN


def test_every_method_and_request_that_the_table_names_exists() -> None:
    assert [name for name in METHODS if not hasattr(SupervisorClient, name)] == []
    named = [name for row in ROWS for name in re.findall(r"`(\w+)`", row[1])]
    assert [name for name in named if not hasattr(requests, name)] == []


def test_the_table_says_what_each_verb_takes() -> None:
    for row in ROWS:
        taken = {VERBS[name].request.__name__ for name in re.findall(r"`(\w+)`", row[0]) if name in VERBS}
        assert taken - {"EventsRequest"} <= set(re.findall(r"`(\w+)`", row[1])), row[0]
