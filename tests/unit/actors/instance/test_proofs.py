from __future__ import annotations

from actors.instance.evidence import Proofs, RecentIds
from actors.instance.inbox import compose
from actors.messages import Message


def message(name: str, text: str = "text") -> Message:
    return Message(id=f"msg_{name}", instance_id="i", sender="lead", text=text, immediate=False, accepted_at=0.0)


A, B = message("a"), message("b")


def test_only_the_latest_ids_are_remembered() -> None:
    recent = RecentIds(limit=3)
    recent.add(["a", "b", "c"])
    recent.add(["a", "d"])
    assert [one for one in "abcd" if one in recent] == ["a", "c", "d"]
    assert len(recent) == 3


def test_what_a_hook_reported_is_told_of_until_the_agent_is_started_anew_and_proves_nothing() -> None:
    proofs = Proofs()
    proofs.report(compose([A, B]))
    assert proofs.is_reported(compose([A, B]))
    assert not proofs.is_reported(compose([A]))
    assert not proofs.has(A.id)
    proofs.begin_life()
    assert not proofs.is_reported(compose([A, B]))


def test_what_the_transcript_shows_is_proved_in_every_life() -> None:
    proofs = Proofs()
    proofs.write(compose([A]))
    proofs.begin_life()
    assert proofs.has_all([A.id])
    assert not proofs.has_all([A.id, B.id])


def test_all_is_written_when_the_transcript_shows_it_or_never_will() -> None:
    proofs = Proofs()
    proofs.report(compose([A, B]))
    proofs.write(compose([A]))
    assert not proofs.all_written
    proofs.refuse(compose([B]), "no")
    assert proofs.all_written
    proofs.report(compose([B]))
    assert not proofs.all_written
    proofs.await_no_more()
    assert proofs.all_written


def test_a_refusal_is_of_one_paste_and_is_over_when_the_same_is_pasted_again() -> None:
    proofs = Proofs()
    proofs.refuse(compose([A, B]), "no")
    proofs.report(compose([A, B]))
    assert (proofs.refusal(compose([A, B])), proofs.refusal(compose([A]))) == ("no", "")
    proofs.begin([A, B])
    assert proofs.refusal(compose([A, B])) == ""
    assert not proofs.is_reported(compose([A, B]))


def test_only_what_was_expected_is_compared() -> None:
    proofs = Proofs()
    proofs.expect([message("a", "one\ttwo")])
    proofs.write(compose([message("a", "one    two")]))
    proofs.write(compose([B]))
    assert proofs.changes(A.id) == ("1 tab turned into spaces",)
    assert proofs.changes(B.id) is None
