from __future__ import annotations

from actors.instance.evidence import DeliveryEvidence, RecentMap
from actors.instance.inbox import compose, ids_in
from actors.messages import Message


def message(name: str, text: str = "text") -> Message:
    return Message(id=f"msg_{name}", instance_id="i", sender="lead", text=text, immediate=False, accepted_at=0.0)


A, B = message("a"), message("b")


def test_only_the_latest_ids_are_remembered() -> None:
    recent = RecentMap[str, None](limit=3)
    for one in "abcad":
        recent[one] = None
    assert list(recent) == ["c", "a", "d"]


def test_what_a_hook_reported_is_told_of_until_the_agent_is_started_anew_and_proves_nothing() -> None:
    evidence = DeliveryEvidence()
    evidence.report(compose([A, B]))
    assert evidence.is_reported(ids_in(compose([A, B])))
    assert not evidence.is_reported(ids_in(compose([A])))
    assert not evidence.has(A.id)
    evidence.begin_life()
    assert not evidence.is_reported(ids_in(compose([A, B])))


def test_what_the_transcript_shows_is_proved_in_every_life() -> None:
    evidence = DeliveryEvidence()
    evidence.write(compose([A]))
    evidence.begin_life()
    assert evidence.has_all([A.id])
    assert not evidence.has_all([A.id, B.id])


def test_all_is_written_when_the_transcript_shows_it_or_never_will() -> None:
    evidence = DeliveryEvidence()
    evidence.report(compose([A, B]))
    evidence.write(compose([A]))
    assert not evidence.all_written
    evidence.refuse(compose([B]), "no")
    assert evidence.all_written
    evidence.report(compose([B]))
    assert not evidence.all_written
    evidence.await_no_more()
    assert evidence.all_written


def test_a_refusal_is_of_one_paste_and_is_over_when_the_same_is_pasted_again() -> None:
    evidence = DeliveryEvidence()
    evidence.refuse(compose([A, B]), "no")
    evidence.report(compose([A, B]))
    assert (evidence.refusal(ids_in(compose([A, B]))), evidence.refusal(ids_in(compose([A])))) == ("no", "")
    evidence.begin([A, B])
    assert evidence.refusal(ids_in(compose([A, B]))) == ""
    assert not evidence.is_reported(ids_in(compose([A, B])))


def test_only_what_was_expected_is_compared() -> None:
    evidence = DeliveryEvidence()
    evidence.expect([message("a", "one\ttwo")])
    evidence.write(compose([message("a", "one    two")]))
    evidence.write(compose([B]))
    assert evidence.changes(A.id) == ("1 tab turned into spaces",)
    assert evidence.changes(B.id) is None
