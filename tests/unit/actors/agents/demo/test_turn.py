from __future__ import annotations

import pytest

from actors.agents.demo.turns import (
    Act,
    BeBusy,
    Choose,
    CommitFile,
    Crash,
    Directive,
    SwallowEnter,
    TurnOutcome,
    UseTool,
    answer_to,
    directives_in,
    turn,
)


def played(prompt: str, *results: str) -> tuple[list[Act], TurnOutcome | None]:
    """All acts of a turn whose acts come to ``results``, and how it ended."""
    running = turn([prompt], 0.5)
    acts = [next(running)]
    answers = iter(["", *results, *[""] * 9])
    try:
        while len(acts) < 9:
            acts.append(running.send(next(answers)))
    except StopIteration as end:
        return acts, end.value
    return acts, None


@pytest.mark.parametrize(
    ("line", "act"),
    [
        ("busy 1.5", BeBusy(1.5)),
        ("never-answer", BeBusy(None)),
        ('dialog Bash {"command": "ls"}', UseTool("Bash", {"command": "ls"})),
        ("dialog", UseTool("Bash", {})),
        ("ask", Choose("Which one?", ("This one", "That one"))),
        ("commit a.txt some words", CommitFile("a.txt", "some words")),
        ("swallow-enter", SwallowEnter()),
        ("crash 3", Crash(3)),
        ("crash", Crash(1)),
    ],
)
def test_a_directive_is_an_act_of_the_turn(line: str, act: Act) -> None:
    acts, _ = played(f"do it\n@@demo {line}\nplease")

    assert acts == [BeBusy(0.5), act]
    assert type(acts[1]) is type(act)


@pytest.mark.parametrize("line", ["dance", "busy soon", "dialog Bash {", "commit", "crash x"])
def test_a_directive_that_is_not_understood_is_said_in_the_answer(line: str) -> None:
    _, outcome = played(f"@@demo {line}")

    assert outcome is not None
    assert "is not understood" in outcome.text


def test_the_answer_holds_what_came_of_the_acts() -> None:
    _, outcome = played("@@demo dialog Bash {}\nthanks", "no, do not")

    assert outcome == TurnOutcome("demo: received 1 message(s): thanks\nresult: no, do not")


@pytest.mark.parametrize(("kind", "error", "status"), [("rate_limit", "rate_limit", 429), ("api", "server_error", 500)])
def test_a_failing_turn_ends_as_an_api_error(kind: str, error: str, status: int) -> None:
    _, outcome = played(f"@@demo fail {kind}")

    assert outcome is not None
    assert (outcome.error, outcome.status) == (error, status)


def test_only_a_line_of_its_own_is_a_directive() -> None:
    assert directives_in("say @@demo crash 1\n @@demo busy 1\n@@demonstrate") == []
    assert directives_in("@@demo ask\n\n@@demo busy 2") == [Directive("ask", ""), Directive("busy", "2")]


def test_the_answer_counts_messages_by_their_headers() -> None:
    prompts = ["[phalanx msg_1 from lead]\none\n\n[phalanx msg_2 from spec_1]\ntwo", "[phalanx msg_3 from lead]\nthree"]

    assert answer_to(prompts) == "demo: received 3 message(s): three"
    assert answer_to(["hello"]) == "demo: received 1 message(s): hello"
