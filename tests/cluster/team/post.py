"""Numbered messages sent from a host of the cluster while hosts are lost, and which conversations hold them.

The ledger and the records of the agents' own programs are those of the chaos test (``tests.chaos``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from tests.chaos import arrivals
from tests.chaos.arrivals import Arrival
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Letter
from tests.cluster.rig import RigHost
from tests.cluster.team.calling import entry_on
from tests.integration.mcp_entry.conftest import EntryProcess

_BATCH = 10
_PATIENCE_S = 120.0


class Sender(threading.Thread):
    """Sends the letters in their order by an entry on a host, evenly over a time; a call that fails is repeated with
    the same request id. ``error`` is what ended it early."""

    def __init__(self, host: RigHost, letters: Sequence[Letter], ledger: Ledger, length_s: float) -> None:
        super().__init__(name=f"sends from {host.name}")
        self._host = host
        self._letters = letters
        self._ledger = ledger
        self._length_s = length_s
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with entry_on(self._host) as entry:
                self._send_all(entry)
        except BaseException as error:  # noqa: BLE001 - told by who joins it
            self.error = error

    def _send_all(self, entry: EntryProcess) -> None:
        begun = time.monotonic()
        for first in range(0, len(self._letters), _BATCH):
            time.sleep(max(0.0, begun + self._length_s * first / len(self._letters) - time.monotonic()))
            self._send(entry, self._letters[first : first + _BATCH])

    def _send(self, entry: EntryProcess, letters: Sequence[Letter]) -> None:
        arguments = {
            "messages": [{"instanceId": each.instance_id, "message": each.text} for each in letters],
            "requestId": f"{letters[0].client}-{letters[0].number}",
        }
        deadline = time.monotonic() + _PATIENCE_S
        while (answer := entry.call("send_batch", **arguments)).get("isError"):
            self._ledger.note("not answered", first=letters[0].number, words=answer["content"][0]["text"])
            assert time.monotonic() < deadline, answer
            time.sleep(1.0)
        self._ledger.answered(letters, answer["structuredContent"]["results"])


def arrived_at(hosts: Mapping[str, RigHost], places: Mapping[str, Sequence[str]]) -> list[Arrival]:
    """What stands in the present conversation of each instance, in order; not what an earlier copy alone has.

    ``places``: names of the hosts on which each has been, the present one last.
    """
    return [each for name, names in places.items() for each in _conversation(hosts[names[-1]], name)]


def last_taken_at(host: RigHost, instance_id: str) -> float:
    """When the copy on this host took its last message, in seconds since the epoch."""
    log = host.home / ".phalanx" / "instances" / instance_id / "demo-log.jsonl"
    return max(each.at for each in arrivals.of_demo(instance_id, log.read_bytes()))


def _conversation(host: RigHost, instance_id: str) -> list[Arrival]:
    transcripts = (host.home / ".phalanx" / "instances" / instance_id / "transcripts").glob("*.jsonl")
    return [each for path in transcripts for each in arrivals.of_claude(instance_id, path.read_bytes())]
