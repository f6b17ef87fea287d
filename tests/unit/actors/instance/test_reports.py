from __future__ import annotations

import asyncio

from actors.instance.reports import InstanceSnapshot, ReportLog
from actors.messages import MessageStatus, Receipt
from actors.status import Status

READY = InstanceSnapshot(status=Status.READY)


def receipt(name: str) -> Receipt:
    return Receipt(message_id=name, instance_id="i", status=MessageStatus.SUBMITTED, at=0.0)


async def test_an_ask_waits_for_news_and_gets_what_came_since() -> None:
    log = ReportLog("one")
    asking = asyncio.create_task(log.after(0, 5.0, ""))
    await asyncio.sleep(0)
    assert not asking.done()
    log.snapshot(READY)
    log.receipt(receipt("a"))
    report = await asking
    assert (report.snapshot, [r.message_id for r in report.receipts]) == (READY, ["a"])


async def test_what_was_acknowledged_is_not_told_again_and_what_was_not_is() -> None:
    log = ReportLog("one")
    log.receipt(receipt("a"))
    first = await log.after(0, 5.0, "one")
    log.receipt(receipt("b"))
    assert [r.message_id for r in (await log.after(0, 5.0, "one")).receipts] == ["a", "b"]
    assert [r.message_id for r in (await log.after(first.sequence, 5.0, "one")).receipts] == ["b"]


async def test_who_asks_for_an_earlier_life_is_told_at_once_that_this_is_another() -> None:
    report = await ReportLog("two").after(7, 5.0, "one")
    assert report.incarnation == "two"


async def test_without_news_the_answer_comes_when_the_time_is_over() -> None:
    log = ReportLog("one")
    log.snapshot(READY)
    report = await log.after(1, 0.01, "one")
    assert (report.sequence, report.receipts) == (1, ())


async def test_a_renewed_log_is_another_incarnation_and_who_waits_learns_it_at_once() -> None:
    log = ReportLog("one")
    log.receipt(receipt("told to nobody"))
    asking = asyncio.create_task(log.after(1, 5.0, "one"))
    await asyncio.sleep(0)
    log.renew("two")
    log.receipt(receipt("again"))
    report = await asking
    assert (report.incarnation, log.incarnation) == ("two", "two")
    assert [r.message_id for r in (await log.after(0, 5.0, "two")).receipts] == ["again"]
