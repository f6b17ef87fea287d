import asyncio

import pytest

from actors.errors import UnavailableError
from supervisor.pool.demand import Demand

KIND = "kind"


@pytest.fixture
def demand() -> Demand[str]:
    return Demand()


def _fail(demand: Demand[str], error: BaseException) -> None:
    demand.begin(KIND)
    with pytest.raises(type(error)), demand.made(KIND):
        raise error


def test_what_is_being_made_is_not_missing(demand: Demand[str]) -> None:
    assert demand.missing(KIND, wanted=3, there=1) == 2

    demand.begin(KIND)

    assert demand.missing(KIND, wanted=3, there=1) == 1


def test_what_was_made_is_no_longer_being_made(demand: Demand[str]) -> None:
    demand.begin(KIND)
    with demand.made(KIND):
        pass

    assert demand.missing(KIND, wanted=3, there=2) == 1


def test_who_takes_one_leaves_one_less_ordered_and_never_less_than_none(demand: Demand[str]) -> None:
    demand.order(KIND, 1)

    demand.take(KIND)
    demand.take(KIND)

    assert demand.ordered(KIND) == 0
    assert demand.taken[KIND] == 1


def test_after_a_failure_nothing_is_missing_for_a_while(demand: Demand[str]) -> None:
    _fail(demand, UnavailableError("no host"))

    assert demand.missing(KIND, wanted=3, there=0) == 0


def test_a_failure_is_told_to_who_has_ordered_and_takes_one_from_the_order(demand: Demand[str]) -> None:
    demand.order(KIND, 2)

    _fail(demand, UnavailableError("no host"))

    assert demand.errors[KIND] == ["no host"]
    assert demand.ordered(KIND) == 1


def test_a_failure_that_nobody_ordered_is_kept_for_nobody(demand: Demand[str]) -> None:
    _fail(demand, UnavailableError("no host"))

    assert KIND not in demand.errors


def test_a_new_order_is_tried_at_once_and_knows_no_earlier_failure(demand: Demand[str]) -> None:
    demand.order(KIND, 1)
    _fail(demand, UnavailableError("no host"))

    demand.order(KIND, 2)

    assert demand.errors[KIND] == []
    assert demand.missing(KIND, wanted=2, there=0) == 2


def test_what_is_cancelled_did_not_fail(demand: Demand[str]) -> None:
    demand.order(KIND, 1)

    _fail(demand, asyncio.CancelledError())

    assert demand.errors[KIND] == []
    assert demand.missing(KIND, wanted=1, there=0) == 1


def test_what_is_forgotten_is_no_longer_ordered(demand: Demand[str]) -> None:
    demand.order(KIND, 1)

    demand.forget()
    assert demand.ordered(KIND) == 0
