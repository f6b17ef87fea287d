from __future__ import annotations

from pathlib import Path

import pytest

from actors.git.model import (
    Checkout,
    Commit,
    CreateRef,
    DeleteBranch,
    ListRefs,
    Merge,
    Operation,
    ReadDiff,
    ReadLog,
    ReadStatus,
    RepositoryPaths,
)
from supervisor.git.queue import dependencies


def place(name: str = "a", repository: str = "r") -> RepositoryPaths:
    return RepositoryPaths(
        top=Path(f"/{name}"), git_directory=Path(f"/{name}/.git"), common_directory=Path(f"/{repository}/.git")
    )


def branch(name: str, start: str | None = None) -> CreateRef:
    return CreateRef(kind="branch", name=name, start=start)


STATUS, LIST = ReadStatus(), ListRefs(kind="branch")
LOG, LOG_OF_MAIN = ReadLog(revision=None, limit=1), ReadLog(revision="main", limit=1)
COMMIT, MERGE = Commit(message="m", files=(), everything=True), Merge(branch="x", message=None)
CHECKOUT, DELETE = Checkout(branch="x", create=False, start=None), DeleteBranch(name="x")
DIFF = ReadDiff(base=None, head=None, staged=False)


def waits(first: Operation, second: Operation, *, other_tree: bool = False) -> bool:
    """Whether the second, in the same or another working tree of the repository, waits for the first."""
    _, found = dependencies([(first, place()), (second, place("b") if other_tree else place())])
    return bool(found)


@pytest.mark.parametrize(
    ("first", "second"),
    [(STATUS, STATUS), (STATUS, LOG), (branch("x"), branch("y")), (STATUS, branch("x")), (LOG, branch("x"))],
)
def test_what_does_not_disturb_each_other_does_not_wait(first: Operation, second: Operation) -> None:
    assert not waits(first, second)
    assert not waits(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *((COMMIT, STATUS), (COMMIT, LOG), (COMMIT, COMMIT), (COMMIT, branch("x")), (CHECKOUT, COMMIT), (MERGE, DIFF)),
        *(
            (branch("x"), CHECKOUT),
            (branch("x"), MERGE),
            (branch("x"), LIST),
            (branch("x"), branch("x")),
            (DELETE, LIST),
        ),
        *((branch("x"), branch("y", "x~1")), (branch("x"), DELETE), (MERGE, LOG_OF_MAIN)),
    ],
)
def test_what_touches_the_same_is_done_in_the_order_given(first: Operation, second: Operation) -> None:
    assert waits(first, second)
    assert waits(second, first)


@pytest.mark.parametrize(
    ("first", "second"), [(COMMIT, STATUS), (COMMIT, COMMIT), (COMMIT, branch("x")), (MERGE, DIFF)]
)
def test_another_working_tree_goes_its_own_way(first: Operation, second: Operation) -> None:
    assert not waits(first, second, other_tree=True)


@pytest.mark.parametrize(("first", "second"), [(COMMIT, MERGE), (COMMIT, LOG_OF_MAIN), (MERGE, branch("y", "main"))])
def test_what_another_working_tree_does_to_branches_is_waited_for_by_who_looks_at_them(
    first: Operation, second: Operation
) -> None:
    assert waits(first, second, other_tree=True)


def test_another_repository_is_not_waited_for() -> None:
    assert dependencies([(MERGE, place()), (LIST, place("b", "q"))]) == [frozenset(), frozenset()]


def test_many_new_branches_wait_for_the_list_before_and_are_waited_for_by_the_list_after() -> None:
    batch: list[tuple[Operation, RepositoryPaths] | None] = [
        (LIST, place()),
        *((branch(str(number)), place()) for number in range(3)),
        (LIST, place()),
    ]

    assert dependencies(batch) == [frozenset(), {0}, {0}, {0}, {1, 2, 3}]


def test_what_is_not_run_is_not_waited_for() -> None:
    assert dependencies([None, (STATUS, place()), None]) == [frozenset()] * 3
