from __future__ import annotations

import datetime
import io

from rich.console import Console, RenderableType

from actors.status import Status
from mcp_entry import texts
from mcp_entry.cli import views
from supervisor.api import results
from supervisor.api.results import StockFigures
from tests.fakes.gateway import entry, git_done, git_outcome, info, listing, performance, spawned

NOW = datetime.datetime(2026, 11, 1, 10, 5, tzinfo=datetime.UTC)


def drawn(view: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(view)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def page(*entries: results.ConversationEntry, cursor: str | None = "c:7") -> results.ReadResult:
    return results.ReadResult(instance_id="spec_1_1_1", source="conversation", entries=list(entries), cursor=cursor)


def test_a_shortened_entry_says_how_much_is_missing_and_how_to_get_it() -> None:
    read = page(entry("xx", "tool_result", left_out=3000, full="a:7:0"), entry("It is done."))
    said = texts.of_read(read)
    assert "xx … (3000 characters left out: read with full=a:7:0)" in said
    assert said.count("left out") == 1
    shown = drawn(views.of_read(read))
    assert "3000 characters left out: --full a:7:0" in shown


def test_an_entry_that_was_asked_for_in_whole_has_no_cursor_to_go_on_with() -> None:
    read = page(entry("whole"), cursor=None)
    assert "cursor" not in texts.of_read(read)
    assert "Next" not in drawn(views.of_read(read))


def test_a_list_says_how_many_terminated_ones_it_does_not_show() -> None:
    listed = listing(info()).model_copy(update={"not_shown": 3})
    assert "3 terminated are not shown (includeStopped)" in texts.of_list(listed)
    assert "3 terminated: --all" in drawn(views.of_list(listed, NOW))
    nobody = listing().model_copy(update={"not_shown": 3})
    assert "3 terminated" in texts.of_list(nobody)
    assert "3 terminated" in drawn(views.of_list(nobody, NOW))
    assert "terminated" not in texts.of_list(listing(info()))


def test_when_nobody_needs_attention_the_list_says_so_and_who_is_there() -> None:
    calm = listing(info()).model_copy(update={"instances": []})
    assert "No instance needs attention: 1 ready." in drawn(views.of_list(calm, NOW))
    assert "spawn" in drawn(views.of_list(listing(), NOW))


def test_a_wait_that_was_reached_names_those_that_need_attention() -> None:
    failed = info("spec_1_1_2", status=Status.FAILED, needs_attention=True)
    waited = results.WaitResult(reached=True, reason=None, instances=[failed, info()], others={})
    assert texts.how_it_ended(waited) == "Reached. Needs attention: spec_1_1_2."


def test_where_a_new_one_works_is_told_as_it_is() -> None:
    spare = spawned(working_directory="/home/worktrees/spare_2")
    assert texts.of_spawn(spare).endswith("branch phalanx/spec_1_1_1 in /home/worktrees/spare_2.")


def test_a_malformed_operation_of_git_is_told_with_what_is_known_of_it() -> None:
    error = results.ErrorInfo(code="invalid_request", message="type is missing.")
    failed = [
        git_outcome(success=False, error=error, type=kind, workspace_dir=where)
        for kind, where in (("tag", "/src"), (None, "/src"), (None, ""))
    ]
    told = texts.of_git_batch(git_done(*failed)).split("\n")
    assert [line.partition(" failed")[0] for line in told[1:]] == [
        "operations[0] tag in /src",
        "operations[1] in /src",
        "operations[2]",
    ]


def test_an_order_of_spares_says_what_was_taken_and_what_is_not_there() -> None:
    done = results.PrewarmResult(
        success=False, work_dir="/src", instances=1, worktrees=0, taken=1, errors=["no memory"]
    )
    told = texts.of_prewarm(done)
    assert "Spawns have taken 1 of what was asked for meanwhile." in told
    assert "Some are not there: no memory" in told


def test_spares_that_are_not_there_yet_are_told_with_what_they_wait_for() -> None:
    waits_for = "the first instance to be spawned or resumed"

    def told(stock: StockFigures) -> str:
        seen = performance()
        pools = seen.metrics.pools.model_copy(update={"instances": stock})
        return texts.of_get_performance(
            seen.model_copy(update={"metrics": seen.metrics.model_copy(update={"pools": pools})})
        )

    waiting = told(StockFigures(ready=0, wanted=5, waits_for=waits_for))
    assert f"0 of 5 spare agents are ready; the others wait for {waits_for}" in waiting
    assert "spare agents" not in told(StockFigures(ready=2, wanted=1, waits_for=waits_for))
    assert "wait for" not in texts.of_get_performance(performance())
