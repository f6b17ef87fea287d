"""The bridge that joins the hosts of a rig, the cable of each host to it, and what a killed test has left of both.

Processes end with the test by themselves (see ``RigHost.start``). Namespaces, bridge and cables are found by the record
of their rig and removed by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.cluster.rig.commands import RigError, run

_NETWORKS = range(10, 250)
_RECORDS = Path("/run/phalanx-test-rigs")
_LOCK = Path("/run/phalanx-test-rigs.lock")


class Network:
    """``10.77.N.0/24`` for an N that no interface of the machine uses; this machine is ``.1`` in it."""

    def __init__(self, tag: str) -> None:
        """``tag``: 6 characters that no other rig has; interface names have at most 15."""
        self.bridge = f"px{tag}"
        self._tag = tag
        self._number = 0

    def make(self) -> None:
        """Raises ``RigError``."""
        with _no_other_rig():  # a number is free until its address is there
            self._number = _free_number()
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "addr", "add", f"{self.address(1)}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    def address(self, number: int) -> str:
        return f"10.77.{self._number}.{number}"

    def namespace(self, number: int) -> str:
        return f"px{self._tag}h{number}"

    def connect(self, number: int) -> str:
        """Makes the namespace of host ``number`` with its cable; returns its address."""
        namespace, address = self.namespace(number), self.address(number)
        inside = f"{namespace}i"
        run("ip", "netns", "add", namespace)
        run("ip", "link", "add", namespace, "type", "veth", "peer", "name", inside)
        run("ip", "link", "set", inside, "netns", namespace)
        run("ip", "link", "set", namespace, "master", self.bridge, "up")
        within = ("ip", "-n", namespace)
        run(*within, "link", "set", "lo", "up")
        run(*within, "link", "set", inside, "name", "eth0")
        run(*within, "addr", "add", f"{address}/24", "dev", "eth0")
        run(*within, "link", "set", "eth0", "up")
        run(*within, "route", "add", "default", "via", self.address(1))
        return address

    def cut(self, number: int) -> None:
        """Nothing gets to the host or away from it, as with its cable pulled."""
        run("ip", "link", "set", self.namespace(number), "down")

    def heal(self, number: int) -> None:
        run("ip", "link", "set", self.namespace(number), "up")


@contextmanager
def _no_other_rig() -> Iterator[None]:
    """Several runs of tests may make their rigs at the same time."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(bridge: str, namespaces: list[str]) -> None:
    """What is not there (any more) is no failure."""
    for namespace in namespaces:
        with suppress(RigError):
            run("ip", "link", "del", namespace)
        with suppress(RigError):
            run("ip", "netns", "del", namespace)
    with suppress(RigError):
        run("ip", "link", "del", bridge)


def _free_number() -> int:
    """Raises ``RigError`` when there is none."""
    listed = json.loads(run("ip", "-j", "-4", "addr"))
    used = {address["local"].rsplit(".", 1)[0] for interface in listed for address in interface.get("addr_info", ())}
    for number in _NETWORKS:
        if f"10.77.{number}" not in used:
            return number
    raise RigError("no network 10.77.N.0/24 is free on this machine")


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
        with _no_other_rig():
            _RECORDS.mkdir(mode=0o700, exist_ok=True)
            self._path.write_text(json.dumps(self._content))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def clear_away_the_lost() -> None:
    """Rigs whose owner runs are left alone."""
    with _no_other_rig():
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
