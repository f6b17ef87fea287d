"""What the verbs ``screen`` and ``type`` ask of an instance, and which keys they take at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.errors import InvalidRequestError, UnavailableError, UnknownInstanceError
from actors.instance.terminal import TerminalScreen
from actors.tmux.pane import NamedKey, PaneView, TypedText
from supervisor.api import requests, results
from supervisor.api.validation import parse
from supervisor.api.verbs import Caller
from supervisor.team.team import Team
from supervisor.team.terminals import TerminalService
from tests.fakes.instances import FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, add_member

USER = Caller(sender="page")
VIEW = PaneView(columns=3, rows=2, lines=("ab", ""), cursor=None, title="t")


class Terminal(FakeInstance):
    def __init__(self) -> None:
        super().__init__()
        self.asked_for: list[tuple[str, float]] = []
        self.typed: list[TypedText | NamedKey] = []
        self.seen: list[str] = []

    async def watch_terminal(self, after: str, timeout_s: float) -> TerminalScreen:
        self.asked_for.append((after, timeout_s))
        return TerminalScreen("v1", VIEW)

    async def type_keys(self, keys: Sequence[TypedText | NamedKey], seen: str = "") -> None:
        self.typed += keys
        self.seen.append(seen)


@pytest.fixture
async def team() -> Any:
    made = Team(MemoryStore())
    await add_member(made)
    yield made
    await made.links.leave_all()


@pytest.fixture
async def terminal(team: Team) -> Terminal:
    made = Terminal()
    team.links.follow(FIRST, made, "first", FakeListener())
    return made


async def test_a_first_look_does_not_wait_and_a_later_one_waits_for_something_else(
    team: Team, terminal: Terminal
) -> None:
    service = TerminalService(team)
    first = await service.screen(requests.ScreenRequest(instance_id=FIRST), USER)
    await service.screen(requests.ScreenRequest(instance_id=FIRST, after=first.version), USER)
    assert terminal.asked_for == [("", 0.0), ("v1", 25.0)]
    assert first == results.ScreenResult(
        instance_id=FIRST, version="v1", columns=3, rows=2, lines=["ab", ""], cursor=None, title="t"
    )


async def test_texts_and_keys_are_typed_in_their_order(team: Team, terminal: Terminal) -> None:
    given = {"instanceId": FIRST, "keys": [{"text": "-l a"}, {"key": "C-c"}, {"key": "BTab"}]}
    await TerminalService(team).type(parse(requests.TypeRequest, given), USER)
    await TerminalService(team).type(parse(requests.TypeRequest, {**given, "seen": "v1"}), USER)
    assert terminal.typed == 2 * [TypedText("-l a"), NamedKey("C-c"), NamedKey("BTab")]
    assert terminal.seen == ["", "v1"]


async def test_without_an_actor_or_an_instance_it_says_so(team: Team) -> None:
    service = TerminalService(team)
    with pytest.raises(UnavailableError, match="no running actor"):
        await service.screen(requests.ScreenRequest(instance_id=FIRST), USER)
    with pytest.raises(UnknownInstanceError):
        await service.screen(requests.ScreenRequest(instance_id="spec_9"), USER)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([], "keys has 0 items"),
        ([{"text": "a"}] * 201, "keys has 201 items; at most 200"),
        ([{"text": ""}], "cannot be ''. Printable, of one line"),
        ([{"text": "a\nb"}], "Printable, of one line"),
        ([{"text": "a\n"}], "Printable, of one line"),
        ([{"text": "\x1b[A"}], "Printable, of one line"),
        ([{"text": "\x9b31m"}], "Printable, of one line"),
        ([{"text": "x" * 4001}], "at most 4000 characters"),
        ([{"key": "F1"}], "One of Enter, Escape"),
        ([{"key": "enter"}], "One of Enter, Escape"),
        ([{"key": "Enter\n"}], "One of Enter, Escape"),
        ([{"key": "-X"}], "One of Enter, Escape"),
        ([{"key": "C-z"}], "C-z is not passed on: it would stop the agent"),
        ([{}], "give either text or key"),
        ([{"text": "a", "key": "Enter"}], "give either text or key"),
        ([{"text": "a", "literal": True}], "literal is no known argument"),
    ],
)
def test_what_is_no_key_is_refused_before_anything_is_typed(keys: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(requests.TypeRequest, {"instanceId": FIRST, "keys": keys})
    assert words in str(refused.value)
