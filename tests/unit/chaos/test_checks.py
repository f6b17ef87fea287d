"""The checks of a chaos round see every kind of fault: shown on logs and listings that were falsified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos import checks
from tests.chaos.arrivals import Arrival
from tests.chaos.copies import Told
from tests.chaos.ledger import Ledger, Probe
from tests.chaos.spawned import Spawned
from tests.chaos.survey import Found, Kind, kind_of
from tests.chaos.visits import DRAFT_MARK
from tests.unit.chaos.faultless import CONTEXTS, IDS, LETTERS, ledger, letter, logs, message_id


def problems(book: Ledger, seen: list[Arrival]) -> list[str]:
    fates = list(book.fates.values())
    return [
        *checks.every_call_was_answered(book),
        *checks.every_accepted_message_stands_once(fates, seen),
        *checks.every_text_is_exact(fates, seen),
        *checks.nothing_else_arrived(fates, seen, CONTEXTS),
        *checks.order_is_kept(fates, seen),
    ]


def changed(number: int, **changes: Any) -> list[Arrival]:
    return [replace(each, **changes) if each.message_id == message_id(number) else each for each in logs()]


def and_also(instance_id: str, message_id: str, text: str) -> list[Arrival]:
    return [*logs(), Arrival(instance_id=instance_id, message_id=message_id, text=text, at=8.0)]


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param(logs(), [], id="a faultless round"),
        pytest.param(
            logs(LETTERS[1:]), ["lost: message 1 of a to spec_0_0_1 (msg_000000000001)"], id="a message is lost"
        ),
        pytest.param(
            logs((*LETTERS, LETTERS[1])),
            ["doubled: message 2 of a", "order: spec_0_0_1 got 2 of a after 5"],
            id="a message was pasted twice",
        ),
        pytest.param(
            and_also(IDS[0], "msg_00000000ffff", LETTERS[1].text),
            ["doubled: message 2 of a", "foreign: spec_0_0_1 got msg_00000000ffff"],
            id="a message was accepted twice under two ids",
        ),
        pytest.param(
            logs((LETTERS[1], LETTERS[0], *LETTERS[2:])),
            ["order: spec_0_0_1 got 1 of a after 2"],
            id="messages of one client are swapped",
        ),
        pytest.param(
            logs((LETTERS[3], *LETTERS[:3], LETTERS[4])), [], id="messages of two clients may come in any order"
        ),
        pytest.param(
            logs((*LETTERS, letter(9))),
            ["foreign: spec_0_0_1 got msg_000000000009"],
            id="a message that nobody accepted arrived",
        ),
        pytest.param(
            and_also(IDS[1], "", "and more"),
            ["foreign: spec_0_0_2 got without header 'and more'"],
            id="a text stands under no header",
        ),
        pytest.param(changed(5, text="order 5 of a"), ["changed: message 5"], id="a text was cut short"),
        pytest.param(
            changed(5, instance_id=IDS[1]),
            ["astray: message 5 for spec_0_0_1 reached spec_0_0_2", "order: spec_0_0_2 got 3 of a after 5"],
            id="a message is in another agent's log",
        ),
    ],
)
def test_whatever_is_wrong_with_what_arrived_is_found(tmp_path: Path, seen: list[Arrival], told: list[str]) -> None:
    found = problems(ledger(tmp_path), seen)
    assert [problem[: len(words)] for problem, words in zip(found, told, strict=True)] == told


def test_a_context_that_was_given_twice_or_never_is_found(tmp_path: Path) -> None:
    context = next(each for each in logs() if each.text == CONTEXTS[IDS[0]])

    assert problems(ledger(tmp_path), [context, *logs()]) == ["context: spec_0_0_1 got its first message 2 times"]
    without = [each for each in logs() if each != context]
    assert problems(ledger(tmp_path), without) == ["context: spec_0_0_1 got its first message 0 times"]


def test_a_refused_message_is_a_problem_and_a_worse_one_when_it_arrives(tmp_path: Path) -> None:
    book = ledger(tmp_path, LETTERS[1:])
    book.expect(LETTERS[:1])
    book.answered(LETTERS[:1], [{"success": False, "error": {"code": "wrong_state", "message": "not now"}}])

    (found,) = problems(book, logs(LETTERS[1:]))
    assert found.startswith("refused: message 1")
    assert any(problem.startswith("foreign: ") for problem in problems(book, logs()))


def test_a_message_whose_call_was_never_answered_is_a_problem_but_may_have_arrived(tmp_path: Path) -> None:
    book = ledger(tmp_path, LETTERS[1:])
    book.expect(LETTERS[:1])

    assert problems(book, logs()) == ["unanswered: message 1 of a"]
    assert problems(book, logs(LETTERS[1:])) == ["unanswered: message 1 of a"]
    assert any(problem.startswith("doubled: ") for problem in problems(book, logs((*LETTERS, LETTERS[0]))))


def test_many_problems_of_a_kind_are_counted_instead_of_told(tmp_path: Path) -> None:
    letters = tuple(letter(number) for number in range(1, 100))

    found = checks.every_accepted_message_stands_once(ledger(tmp_path, letters).fates.values(), [])

    assert len(found) == 9
    assert found[-1] == "… and 91 more that begin with lost"


def test_a_receipt_that_says_something_else_is_found(tmp_path: Path) -> None:
    fates = ledger(tmp_path).fates.values()
    good = {message_id(each.number): "submitted" for each in LETTERS}

    assert checks.receipts_say_submitted(fates, good) == []
    assert len(checks.receipts_say_submitted(fates, {**good, message_id(1): "unconfirmed"})) == 1
    assert len(checks.receipts_say_submitted(fates, dict(list(good.items())[1:]))) == 1


def test_an_event_that_is_missing_doubled_or_not_told_yet_is_found(tmp_path: Path) -> None:
    fates = ledger(tmp_path).fates.values()
    told = [
        Told(number=number, kind="message_final", message_id=message_id(each.number), status="submitted")
        for number, each in enumerate(LETTERS, 1)
    ]
    assert checks.every_event_is_told_once(fates, told, 0) == []
    assert len(checks.every_event_is_told_once(fates, told, 2)) == 1
    assert len(checks.every_event_is_told_once(fates, told[:-1], 0)) == 1
    again = replace(told[0], number=len(told) + 1)
    assert len(checks.every_event_is_told_once(fates, [*told, again], 0)) == 1
    assert len(checks.every_event_is_told_once(fates, [*told, Told(number=9, kind="alert")], 0)) == 1


def test_copies_that_differ_are_found() -> None:
    file = {"instance/1": b"x", "receipt/2": b"y"}

    assert checks.copies_are_equal(file, dict(file)) == []
    assert checks.copies_are_equal(file, {"instance/1": b"x"}) == ["copies: receipt/2 is only in the file"]
    assert checks.copies_are_equal(file, {**file, "receipt/3": b""}) == ["copies: receipt/3 is only in Redis"]
    assert checks.copies_are_equal(file, {**file, "receipt/2": b"z"}) == ["copies: receipt/2 differs"]


def test_a_list_that_told_a_wrong_story_is_found(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.probes.append(Probe(asked_at=1.0, answered_at=1.1, answered=True))
    assert checks.list_never_told_a_wrong_story(book) == []

    book.probes.append(Probe(asked_at=2.0, answered_at=2.1, answered=True, complaint="not listed: spec_0_0_1"))

    assert checks.list_never_told_a_wrong_story(book) == ["list: at 2.00: not listed: spec_0_0_1"]


def test_a_draft_in_a_conversation_is_found() -> None:
    text = f"order 3 of a\n{DRAFT_MARK} ada abcdefgh"
    arrival = Arrival(instance_id=IDS[0], message_id="msg_1", text=text, at=1.0)

    (problem,) = checks.nothing_was_sent_for_a_person([arrival])

    assert problem.startswith(f"submitted: {IDS[0]} got what a person had typed")


def test_a_command_that_ran_without_a_yes_is_found(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.decided(IDS[0], "touch ran-1", allow=True)
    book.decided(IDS[0], "touch ran-2", allow=False)

    problems = checks.nothing_was_approved(book, [(IDS[0], "touch ran-1"), (IDS[0], "touch ran-2")])

    assert problems == [f"approved: {IDS[0]} ran 'touch ran-2', and nobody had allowed it"]
    assert book.decisions == 2


BEFORE = {IDS[0]: (100, 1.0), IDS[1]: (101, 1.0)}


def found(kind: Kind, pid: int, parent: int = 1, instance_id: str = "") -> Found:
    return Found(process=_Named(pid), kind=kind, parent=parent, title=f"{kind} {pid}", instance_id=instance_id)


class _Named(psutil.Process):
    """A process that need not exist."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ident = (pid, 0.0)


def whole_team() -> list[Found]:
    ray = (
        *(found(Kind.HEAD, 10), found(Kind.GCS, 11, 10), found(Kind.RAYLET, 12, 10), found(Kind.RAY_AGENT, 13, 12)),
        *(found(Kind.SUPERVISOR, 14, 12), found(Kind.HOST, 15, 12), found(Kind.IDLE_WORKER, 16, 12)),
    )
    actors = (found(Kind.INSTANCE, 20 + at, 12, instance_id) for at, instance_id in enumerate(IDS))
    agents = (found(Kind.AGENT, 100 + at, 99, instance_id) for at, instance_id in enumerate(IDS))
    return [*ray, *actors, found(Kind.TMUX, 99), found(Kind.ENDPOINT, 98), *agents]


def test_agents_that_go_on_are_no_problem() -> None:
    assert checks.no_agent_was_restarted(BEFORE, BEFORE.items()) == []


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([(IDS[0], (100, 1.0)), (IDS[1], (200, 9.0))], "was 101 and is 200 now"),
        ([(IDS[0], (100, 1.0)), (IDS[1], (101, 9.0))], "was 101 and is 101 now"),
        ([(IDS[0], (100, 1.0)), (IDS[1], (101, 1.0)), (IDS[1], (102, 9.0))], "has 2: 101, 102"),
        ([(IDS[0], (100, 1.0))], "(process 101) is gone"),
        ([*BEFORE.items(), ("spec_0_0_9", (109, 9.0))], "spec_0_0_9 was never spawned"),
    ],
    ids=["restarted", "restarted under the same process id", "doubled", "gone", "foreign"],
)
def test_an_agent_that_was_touched_is_found(after: list[tuple[str, tuple[int, float]]], words: str) -> None:
    (problem,) = checks.no_agent_was_restarted(BEFORE, after)

    assert words in problem


def test_a_team_in_agreement_is_no_problem() -> None:
    assert checks.registry_panes_and_actors_agree(IDS, listed=IDS, panes=IDS, actors=IDS) == []
    assert checks.registry_panes_and_actors_agree(IDS, listed=IDS, panes=IDS, actors=["", IDS[0]]) == []
    assert checks.registry_panes_and_actors_agree(IDS, listed=IDS, panes=IDS, actors=[*IDS, ""]) != []
    assert checks.registry_panes_and_actors_agree(IDS, listed=IDS, panes=[*IDS, ""], actors=IDS) != []


@pytest.mark.parametrize(
    ("actors", "words"),
    [
        ([IDS[0]], "are 1 instead of 2"),
        ([""], "are 1 instead of 2"),
        ([IDS[0], IDS[0]], "lack spec_0_0_2"),
        ([*IDS, IDS[1]], "hold spec_0_0_2 more than once"),
        ([IDS[0], "spec_0_0_9"], "hold spec_0_0_9, which nobody spawned"),
    ],
)
def test_actors_that_do_not_fit_the_team_are_found(actors: list[str], words: str) -> None:
    for_actors = checks.registry_panes_and_actors_agree(IDS, listed=IDS, panes=IDS, actors=actors)
    for_panes = checks.registry_panes_and_actors_agree(IDS, listed=IDS, panes=actors, actors=IDS)
    for_list = checks.registry_panes_and_actors_agree(IDS, listed=actors, panes=IDS, actors=IDS)

    assert all(any(words in problem for problem in problems) for problems in (for_actors, for_panes, for_list))


SPARES = ["spare_7", "spare_8"]


def test_spare_agents_that_wait_with_an_actor_and_a_pane_each_are_no_problem() -> None:
    assert checks.spares_are_whole(2, agents=SPARES, actors=SPARES[::-1], panes=SPARES) == []
    assert checks.spares_are_whole(0, agents=[], actors=[], panes=[]) == []


@pytest.mark.parametrize(
    ("agents", "actors", "panes", "words"),
    [
        ([*SPARES, "spare_9"], [*SPARES, "spare_9"], [*SPARES, "spare_9"], "3 agents where 2 are kept"),
        (SPARES, SPARES[:1], SPARES, "the actors ['spare_7']"),
        (SPARES[:1], SPARES[:1], SPARES, "the agents are ['spare_7']"),
        (SPARES, [*SPARES, "spare_8"], SPARES, "the actors"),
    ],
)
def test_spare_agents_that_nobody_keeps_or_follows_are_found(
    agents: list[str], actors: list[str], panes: list[str], words: str
) -> None:
    (problem,) = checks.spares_are_whole(2, agents=agents, actors=actors, panes=panes)

    assert words in problem


def test_processes_of_an_instance_that_was_a_spare_are_the_instance_s_and_others_the_spare_s() -> None:
    spawned = Spawned(places={"spare_3": IDS[0], IDS[1]: IDS[1]})
    listed = [found(Kind.AGENT, 1, instance_id="spare_3"), found(Kind.AGENT, 2, instance_id=IDS[1])]
    spare = found(Kind.AGENT, 3, instance_id="spare_4")

    team, spares = spawned.divide([*listed, spare])

    assert [each.instance_id for each in team] == list(IDS)
    assert [each.process for each in spares] == [spare.process]


def test_a_whole_team_has_no_orphan() -> None:
    assert checks.no_orphan(whole_team(), 2) == []


@pytest.mark.parametrize("kind", [Kind.BOOT, Kind.BRING_UP, Kind.ENTRY, Kind.OTHER])
def test_a_process_that_does_not_belong_there_is_an_orphan(kind: Kind) -> None:
    (problem,) = checks.no_orphan([*whole_team(), found(kind, 500, 12)], 2)

    assert problem.startswith("orphan: 500 ")


def test_the_entries_of_clients_that_are_still_there_are_no_orphans_and_a_further_one_is() -> None:
    entries = [found(Kind.ENTRY, 500 + number, 12) for number in range(3)]
    assert checks.no_orphan([*whole_team(), *entries[:2]], 2, entries=2) == []
    assert checks.no_orphan([*whole_team(), *entries], 2, entries=2) == ["orphan: 502 entry 502 (entry)"]


@pytest.mark.parametrize(
    "kind", [Kind.SUPERVISOR, Kind.HOST, Kind.INSTANCE, Kind.TMUX, Kind.AGENT, Kind.GCS, Kind.ENDPOINT]
)
def test_one_too_many_of_a_kind_is_found_and_one_too_few(kind: Kind) -> None:
    team = whole_team()
    fewer = [each for each in team if each is not next(one for one in team if one.kind is kind)]

    assert len(checks.no_orphan([*team, found(kind, 500, 12)], 2)) == 1
    assert len(checks.no_orphan(fewer, 2)) == 1


def test_a_worker_of_an_earlier_ray_is_an_orphan() -> None:
    team = [each for each in whole_team() if each.pid != 16]

    (problem,) = checks.no_orphan([*team, found(Kind.IDLE_WORKER, 16, 1)], 2)

    assert problem == "orphan: 16 idle worker 16 is left from an earlier Ray"


def test_what_is_left_after_down_is_found_but_not_the_tests_own_redis() -> None:
    assert checks.nothing_is_left([found(Kind.REDIS, 1)]) == []
    assert checks.nothing_is_left([found(Kind.TMUX, 99)]) == ["left behind: 99 tmux server 99"]


def test_a_team_that_is_busy_with_nothing_is_found() -> None:
    assert checks.idle_team_is_quiet(0.1, 0.5) == []
    assert checks.idle_team_is_quiet(0.9, 0.5) == ["idle: the team uses 0.90 cores with nothing to do"]


@pytest.mark.parametrize(
    ("command", "name", "kind"),
    [
        (["ray::_SupervisorServer", ""], "ray::_Superviso", Kind.SUPERVISOR),
        (["ray::_HostServer.agents"], "ray::_HostServe", Kind.HOST),
        (["ray::InstanceServer.reports"], "ray::InstanceServer", Kind.INSTANCE),
        (["ray::IDLE"], "ray::IDLE", Kind.IDLE_WORKER),
        (["python", "-P", "-m", "supervisor.ray_processes.ray_start", "start", "--head"], "python", Kind.HEAD),
        (["/x/ray/core/src/ray/gcs/gcs_server", "--log_dir=/tmp"], "gcs_server", Kind.GCS),
        (["/x/ray/core/src/ray/raylet/raylet", "--a"], "raylet", Kind.RAYLET),
        (["python", "-P", "-m", "supervisor.boot", "--home", "/h"], "python", Kind.BOOT),
        (["python", "-m", "supervisor.runtime", "up", "--home", "/h"], "python", Kind.BRING_UP),
        (["python", "-m", "mcp_entry"], "python", Kind.ENTRY),
        (["python", "-m", "mcp_entry.web", "--listener", "9"], "python", Kind.ENDPOINT),
        (["tmux", "-u", "-S", "/h/tmux.sock"], "tmux: server", Kind.TMUX),
        (["redis-server 127.0.0.1:40000"], "redis-server", Kind.REDIS),
        (["sleep", "60"], "sleep", Kind.OTHER),
    ],
)
def test_a_process_is_known_by_its_command(command: list[str], name: str, kind: Kind) -> None:
    assert kind_of(command, name) is kind
