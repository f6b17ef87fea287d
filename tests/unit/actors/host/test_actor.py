"""Which way a call for git goes, and what is told when one is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.git.local import GitCallNotSentError
from actors.git.model import Commit, GitRequest, GitResponse, ReadStatus
from actors.host.actor import HostProxy

READ = [GitRequest(directory=Path("/r"), operation=ReadStatus())]
WRITE = [GitRequest(directory=Path("/r"), operation=Commit(message="m", files=(), everything=True))]


class Remote:
    """A method of an actor."""

    def __init__(self, name: str, calls: list[str], answer: Any) -> None:
        self._name, self._calls, self._answer = name, calls, answer

    async def remote(self, *given: object) -> Any:
        self._calls.append(self._name)
        return self._answer


class Actor:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.meet = Remote("meet", self.calls, None)
        self.git_read = Remote("read", self.calls, (GitResponse(result={"by": "ray"}),))
        self.git_write = Remote("write", self.calls, (GitResponse(result={"by": "ray"}),))


class Client:
    def __init__(self, trouble: Exception | None = None) -> None:
        self._trouble = trouble

    async def call(self, name: str, given: Sequence[Any]) -> Any:
        if self._trouble is not None:
            raise self._trouble
        return [GitResponse(result={"by": "socket"})]


def host(actor: Actor, trouble: Exception | None = None) -> HostProxy:
    return HostProxy(actor, Client(trouble))  # type: ignore[arg-type]


def by(outcomes: Sequence[GitResponse | None]) -> Any:
    (outcome,) = outcomes
    assert outcome is not None
    assert outcome.result is not None
    return outcome.result["by"]


async def test_calls_go_through_the_socket_and_no_other_way() -> None:
    actor = Actor()

    assert by(await host(actor).git_read(READ)) == "socket"
    assert by(await host(actor).git_write(WRITE)) == "socket"
    assert actor.calls == []


@pytest.mark.parametrize("trouble", [GitCallNotSentError(), ConnectionResetError()])
async def test_what_only_looks_is_asked_through_ray_when_the_connection_is_lost(trouble: Exception) -> None:
    actor = Actor()

    assert by(await host(actor, trouble).git_read(READ)) == "ray"
    assert actor.calls == ["read"]


async def test_a_write_that_was_not_sent_goes_through_ray_once_the_host_is_known_to_be_there() -> None:
    actor = Actor()
    made = host(actor, GitCallNotSentError())

    assert by(await made.git_write(WRITE)) == "ray"
    assert by(await made.git_write(WRITE)) == "ray"
    assert actor.calls == ["meet", "write", "write"]


async def test_a_write_whose_answer_was_lost_is_not_made_again() -> None:
    actor = Actor()

    with pytest.raises(UnavailableError, match="not running now"):
        await host(actor, ConnectionResetError()).git_write(WRITE)
    assert actor.calls == []
