"""Instances are spread over the hosts by what these have room for, and go where they are told to."""

from __future__ import annotations

from collections import Counter

import pytest

from actors.errors import InvalidRequestError
from actors.nodes import Node
from supervisor.cluster.scheduler import PlacementRequest, choose, nearly_as_good

SMALL = Node(name="small", address="10.0.0.1", slots=2)
LARGE = Node(name="large", address="10.0.0.2", slots=8, labels={"disk": "fast"})
OTHER = Node(name="other", address="10.0.0.3", slots=2, labels={"disk": "slow"})
ANY = PlacementRequest()


def placed(count: int, nodes: tuple[Node, ...], wanted: PlacementRequest = ANY) -> Counter[str]:
    used: Counter[str] = Counter()
    for _ in range(count):
        node = choose(wanted, nodes, used, ())
        assert node is not None
        used[node.name] += 1
    return used


def test_equal_hosts_get_equally_many() -> None:
    assert sorted(placed(4, (SMALL, OTHER)).values()) == [2, 2]


def test_a_host_gets_as_many_as_its_share_of_the_slots() -> None:
    assert placed(6, (SMALL, LARGE, OTHER)) == {"large": 4, "small": 1, "other": 1}


def test_a_full_host_gets_none_and_none_is_left_when_all_are_full() -> None:
    used = {"small": 2, "large": 7}

    assert choose(ANY, (SMALL, LARGE), used, ()) == LARGE
    assert choose(ANY, (SMALL, LARGE), {"small": 2, "large": 8}, ()) is None


def test_a_host_can_be_named_by_name_or_address_and_chosen_by_labels() -> None:
    nodes = (SMALL, LARGE, OTHER)

    assert choose(PlacementRequest(host="other"), nodes, {}, ()) == OTHER
    assert choose(PlacementRequest(host="10.0.0.3"), nodes, {}, ()) == OTHER
    assert choose(PlacementRequest(labels={"disk": "slow"}), nodes, {}, ()) == OTHER
    assert choose(PlacementRequest(host="other"), nodes, {"other": 2}, ()) is None


def test_what_fits_nowhere_is_refused_with_the_hosts_that_there_are() -> None:
    with pytest.raises(InvalidRequestError, match=r"disk=none\. There are: small, large"):
        choose(PlacementRequest(labels={"disk": "none"}), (SMALL, LARGE), {}, ())


def test_a_drained_host_takes_nobody_and_says_so_when_it_is_asked_for() -> None:
    assert choose(ANY, (SMALL, LARGE), {}, {"large"}) == SMALL
    with pytest.raises(InvalidRequestError, match="drained"):
        choose(PlacementRequest(host="large"), (SMALL, LARGE), {}, {"large"})


def test_a_host_that_offers_no_slots_takes_nobody() -> None:
    assert choose(ANY, (Node(name="bare", address="10.0.0.9", slots=None),), {}, ()) is None


def near(
    used: dict[str, int], *nodes: Node, wanted: PlacementRequest = ANY, drained: tuple[str, ...] = ()
) -> list[str]:
    return [node.name for node in nearly_as_good(wanted, nodes, used, drained)]


def test_nearly_as_good_are_hosts_that_would_be_the_best_with_one_instance_less() -> None:
    assert near({}, SMALL, OTHER) == ["small", "other"] or near({}, SMALL, OTHER) == ["other", "small"]
    assert near({"small": 1}, SMALL, OTHER) == ["other", "small"]
    assert near({"small": 2}, SMALL, OTHER) == ["other"]
    assert near({"large": 2}, LARGE, SMALL) == ["small"]
    assert near({"large": 5, "small": 1}, LARGE, SMALL) == ["small", "large"]


def test_nearly_as_good_is_no_host_that_does_not_fit_is_drained_or_full() -> None:
    assert near({}, SMALL, LARGE, wanted=PlacementRequest(labels={"disk": "fast"})) == ["large"]
    assert near({}, SMALL, OTHER, drained=("other",)) == ["small"]
    assert near({"small": 2, "other": 1}, SMALL, OTHER) == ["other"]
    assert near({"small": 2, "other": 2}, SMALL, OTHER) == []


def test_who_needs_labels_that_only_drained_hosts_have_is_told_which() -> None:
    with pytest.raises(InvalidRequestError, match="Every host that is disk=fast is drained"):
        choose(PlacementRequest(labels={"disk": "fast"}), (SMALL, LARGE), {}, {"large"})
