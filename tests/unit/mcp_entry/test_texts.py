from __future__ import annotations

import datetime
import io

from rich.console import Console, RenderableType

from mcp_entry import texts
from mcp_entry.cli import views
from supervisor import results
from tests.unit.mcp_entry.fakes import entry, info, listing

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
