"""How the tests call the team from any host: as a person by ``phalanx``, as a Claude by the entry."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.asking import PHALANX_PROGRAM
from tests.cluster.rig import RigHost, login_home
from tests.integration.mcp_entry.conftest import EntryProcess

_ANSWER_S = 900.0
"""A spawn of a hundred takes its time."""
USER = login_home()
PROJECT = USER / "project"
_ENVIRONMENT = (f"PYTHONPATH={USER}/phalanx", "PHALANX_AGENT=demo", "PREWARM_INSTANCES=0")
_PYTHON = ("env", *_ENVIRONMENT, f"{USER}/phalanx/.venv/bin/python")


def phalanx_there(host: RigHost, *words: str) -> Any:
    """What ``phalanx WORDS --json`` answered on that host, refusals too."""
    program = shlex.join((*_PYTHON, "-c", PHALANX_PROGRAM, *words, "--json"))
    return json.loads(host.ssh("sh", "-c", f"{program} 2>/dev/null; true", timeout_s=120))


@contextmanager
def entry_on(host: RigHost) -> Iterator[EntryProcess]:
    entry = EntryProcess(host.over_ssh(*_PYTHON, "-m", "mcp_entry"), {}, Path("/"), _ANSWER_S)
    try:
        entry.initialize()
        yield entry
    finally:
        entry.kill()


def done(answer: dict[str, Any]) -> Any:
    """The tool's structured result."""
    assert not answer.get("isError"), answer
    return answer["structuredContent"]
