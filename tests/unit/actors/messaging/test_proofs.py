from __future__ import annotations

from actors.messaging.proofs import Proofs
from actors.messaging.recent import RecentIds


def test_only_the_latest_ids_are_remembered() -> None:
    recent = RecentIds(limit=3)
    recent.add(["a", "b", "c"])
    recent.add(["a", "d"])
    assert [one for one in "abcd" if one in recent] == ["a", "c", "d"]
    assert len(recent) == 3


def test_what_a_hook_reported_is_proved_until_the_agent_is_started_anew() -> None:
    proofs = Proofs(RecentIds())
    proofs.add({"a"})
    assert (proofs.has("a"), proofs.has_ever("a")) == (True, True)
    proofs.begin_life()
    assert (proofs.has("a"), proofs.has_ever("a")) == (False, True)


def test_what_the_transcript_shows_is_proved_in_every_life() -> None:
    written = RecentIds()
    proofs = Proofs(written)
    proofs.add({"a"})
    written.add({"a"})
    proofs.begin_life()
    assert proofs.has_all(["a"])
    assert not proofs.has_all(["a", "b"])


def test_all_is_written_when_the_transcript_shows_it_or_never_will() -> None:
    written = RecentIds()
    proofs = Proofs(written)
    proofs.add({"a", "b"})
    written.add({"a"})
    assert not proofs.all_written
    proofs.await_no_more()
    assert proofs.all_written
