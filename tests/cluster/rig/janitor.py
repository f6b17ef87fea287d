"""What rigs have left on the machine whose tests were killed: found by their records and cleared away.

Processes end with the test by themselves (see ``RigHost.start``); namespaces, the bridge and cables do not.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import psutil

from tests.cluster.rig.network import remove

_RECORDS = Path("/run/phalanx-test-rigs")


class Record:
    """Says what a rig has made, before it is made."""

    def __init__(self, bridge: str, namespaces: list[str]) -> None:
        self._path = _RECORDS / f"{bridge}.json"
        owner = psutil.Process()
        self._content = {
            "pid": owner.pid,
            "began": owner.create_time(),
            "bridge": bridge,
            "namespaces": namespaces,
        }

    def write(self) -> None:
        _RECORDS.mkdir(mode=0o700, exist_ok=True)
        self._path.write_text(json.dumps(self._content))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def clear_away_the_lost() -> None:
    """Rigs whose owner runs are left alone."""
    if not _RECORDS.is_dir():
        return
    for path in _RECORDS.glob("*.json"):
        with suppress(OSError, ValueError, KeyError):
            record = json.loads(path.read_text())
            if not _runs(record["pid"], record["began"]):
                remove(record["bridge"], record["namespaces"])
                path.unlink(missing_ok=True)
    with suppress(OSError):
        os.rmdir(_RECORDS)  # noqa: PTH106 - only an empty one may go


def _runs(pid: int, began: float) -> bool:
    try:
        return bool(psutil.Process(pid).create_time() == began)
    except psutil.Error:
        return False
