"""``scripts/bench --peers`` over the floor alone, with the real Claude Code."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks.peers.floor import Floor
from scripts.benchmarks.peers.peer import make_place
from scripts.benchmarks.peers.receiver import Receiver
from scripts.benchmarks.peers.scenarios import Bout, dialog
from tests.standin.claude_versions import installed_claude

_PATIENCE_S = 60.0


@pytest.fixture
def bout() -> Iterator[Bout]:
    claude = installed_claude("newest")
    with Receiver() as receiver:
        place = make_place(Path(tempfile.mkdtemp(prefix="phx", dir="/tmp")), receiver.url, claude, Floor.programs())
        floor = Floor(place)
        floor.open()
        try:
            yield Bout(peer=floor, requests=receiver.requests)
        finally:
            floor.close()
            place.end()


def test_what_is_typed_arrives_and_what_is_typed_into_a_dialog_approves_the_call(bout: Bout) -> None:
    with bout.agent() as (instance, called, arrived):
        assert arrived > called
        assert bout.requests.wait_for("never sent", 0.0) is None
        assert list(bout.peer.agents())
        assert bout.peer.send(instance, "look at the parser") == "sent"
        assert bout.requests.wait_for("look at the parser", _PATIENCE_S) is not None
        assert bout.requests.times("look at the parser") == 1

    dialog(bout)
    assert "approved the call" in bout.findings["dialog"].words

    place = bout.peer.place
    bout.peer.close()
    place.end()
    assert not place.processes()
    assert not place.home.exists()
