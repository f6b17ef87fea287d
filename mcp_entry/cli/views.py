"""Views of results for a terminal, where a command needs a table or colours; the others use ``mcp_entry.texts``.

Pure functions; texts of agents and users go through ``output``.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actors.status import Status
from mcp_entry import texts
from mcp_entry.cli.naming import with_names
from mcp_entry.cli.output import one_line, plain, table
from supervisor.api import results
from supervisor.api.requests import Until

_STYLES: Mapping[Status, str] = {
    Status.STARTING: "cyan",
    Status.READY: "green",
    Status.BUSY: "blue",
    Status.WAITING_PERMISSION: "bold yellow",
    Status.WAITING_INPUT: "bold yellow",
    Status.RATE_LIMITED: "yellow",
    Status.STOPPED: "dim",
    Status.FAILED: "bold red",
}
_RowsT = TypeVar("_RowsT", results.ListResult, results.WaitResult)
_NOT_SO: Mapping[Until, str] = {"idle": "Not all are done. ", "any_idle": "None is done. ", "needs_attention": ""}
_LONGEST_NOTE = 300
_MOST_NAMED = 5
_SPANS = (("d", 86400), ("h", 3600), ("m", 60))


def of_list(result: results.ListResult, now: datetime.datetime) -> RenderableType:
    hidden = [plain(f"{result.not_shown} terminated: --all shows them too.", "dim")] if result.not_shown else []
    if not result.instances:
        rest = f"No instance needs attention: {texts.counts_in_words(result.counts)}." if result.counts else ""
        none = Text(rest or "There is no instance to show. `phalanx spawn` starts one.")
        return Group(*_warnings(result.warnings), none, *hidden)
    work = [plain(f"{_some(alike)}: {words}") for words, alike in _by_work(result.instances).items()]
    conflicts = [plain(line, "yellow") for line in texts.of_conflicts(_named(result).conflicts)]
    shown = of_instances(result.instances, now)
    spares = [plain(f"{texts.spares_in_words(result.spares)}.", "dim")] if result.spares else []
    return Group(*_warnings(result.warnings), shown, *([Text(), *work] if work else []), *conflicts, *hidden, *spares)


def of_instances(instances: Sequence[results.InstanceInfo], now: datetime.datetime) -> RenderableType:
    """A table, and below it the notes. A note on several instances is shown once."""
    shown = table("INSTANCE", "NAME", "STATUS", "FOR", "UNREAD", "BRANCH OR DIRECTORY", right=("FOR", "UNREAD"))
    notes: dict[str, list[results.InstanceInfo]] = {}
    for each in instances:
        shown.add_row(
            plain(each.instance_id),
            plain(each.name or ""),
            _status(each),
            age(each.since, now),
            str(each.unread or ""),
            plain(each.branch if each.branch and each.workspace_mode == "isolated" else each.working_directory),
        )
        if note := _note(each):
            notes.setdefault(note, []).append(each)
    return Group(shown, Text(), *(_shared_note(note, noted) for note, noted in notes.items())) if notes else shown


def _who(each: results.InstanceInfo) -> str:
    return results.called(each.instance_id, each.name)


def _named(result: _RowsT) -> _RowsT:
    return with_names(result, {each.instance_id: each.name for each in result.instances if each.name})


def _status(each: results.InstanceInfo) -> Text:
    """One at its prompt is not done while a message for it is held, or while it takes none, as at a limit of tokens."""
    is_held = each.held_messages or (each.status is Status.READY and each.needs_attention)
    return plain(f"{each.status}, held", "yellow") if is_held else plain(each.status, _STYLES[each.status])


def _shared_note(note: str, noted: Sequence[results.InstanceInfo]) -> Text:
    return plain(_some(noted), _STYLES[noted[0].status]).append_text(plain(f": {note}"))


def _by_work(instances: Sequence[results.InstanceInfo]) -> Mapping[str, list[results.InstanceInfo]]:
    """By the words of their work, which for many that are not compared are the same."""
    found: dict[str, list[results.InstanceInfo]] = {}
    for each in instances:
        if each.work:
            found.setdefault(texts.of_work(each.work), []).append(each)
    return found


def _some(instances: Sequence[results.InstanceInfo]) -> str:
    more = f" and {len(instances) - _MOST_NAMED} more" if len(instances) > _MOST_NAMED else ""
    return f"{', '.join(map(_who, instances[:_MOST_NAMED]))}{more}"


def _note(each: results.InstanceInfo) -> str:
    asks = f"asks for {each.permission.tool}: {_arguments(each.permission.input)}" if each.permission else each.reason
    held = f", {each.held_messages} of them held back" if each.held_messages else ""
    queued = f"queued messages: {each.queued_messages}{held}" if each.queued_messages else ""
    return one_line("; ".join(part for part in (asks, queued) if part), _LONGEST_NOTE)


def of_wait(result: results.WaitResult, until: Until, now: datetime.datetime) -> RenderableType:
    heading = plain(_how_it_ended(_named(result), until), "" if result.reached else "yellow")
    others = [plain(f"The others: {texts.counts_in_words(result.others)}.", "dim")] if result.others else []
    return Group(heading, *([of_instances(result.instances, now)] if result.instances else []), *others)


def _how_it_ended(result: results.WaitResult, until: Until) -> str:
    if not result.reached:
        return f"{_NOT_SO[until]}{result.reason or 'The time ran out.'}"
    needing = ", ".join(each.instance_id for each in result.instances if each.needs_attention)
    match until:
        case "idle":
            return f"All are done or need somebody: {needing}." if needing else "All are done."
        case "any_idle":
            return f"One needs somebody: {needing}." if needing else "One is done."
        case "needs_attention":
            return f"Needs somebody: {needing}."


def of_read(result: results.ReadResult, *, latest: int | None = None) -> RenderableType:
    """``latest``: the most entries that were asked for, when only the latest were asked for."""
    if result.source == "screen":
        return plain(result.screen or "")
    parts: list[RenderableType] = []
    if latest is not None and len(result.entries) >= latest:
        parts.append(plain(f"The latest {len(result.entries)} entries: --lines {4 * latest} shows more.", "dim"))
    for entry in result.entries:
        tool = f" {entry.tool}" if entry.tool else ""
        heading = plain(f"{entry.kind.replace('_', ' ')}{tool}", "bold").append_text(plain(f"  {entry.at}", "dim"))
        parts += [heading, plain(entry.text or _arguments(entry.input))]
        if entry.left_out:
            left_out = f"… {entry.left_out} characters left out: --full {entry.full} shows it in whole"
            parts.append(plain(left_out, "dim"))
        parts.append(Text(""))
    more = " There is more." if result.more else ""
    end = (
        f"{'' if parts else 'Nothing new. '}Read on from here: --cursor {result.cursor}{more}"
        if result.cursor
        else "Nothing yet."
    )
    return Group(*parts, plain(end, "dim")) if result.cursor or not parts else Group(*parts)


def _arguments(tool_input: Mapping[str, Any] | None) -> str:
    return json.dumps(tool_input, ensure_ascii=False) if tool_input else ""


def of_status(result: results.StatusResult) -> RenderableType:
    pairs = {
        "home": result.home,
        "version": result.version,
        "running since": result.started_at,
        "supervisor": f"process {result.supervisor_pid}",
        "state": result.store,
        "instances": texts.counts_in_words(result.counts) or "none",
        "spares": texts.spares_in_words(result.spares) if result.spares else "none",
        "spawns": f"{result.spawns_running} running, {result.spawns_waiting} waiting "
        f"(at most {result.max_concurrent_spawns})",
    }
    if result.resumable:
        ids = one_line(", ".join(result.resumable), _LONGEST_NOTE)
        pairs["resumable"] = f"{ids}\n`phalanx up --resume` starts them again"
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs.items():
        shown.add_row(name, plain(value))
    return Group(shown, *_warnings(result.warnings))


def of_gc(result: results.GcResult) -> RenderableType:
    """What goes and what stays, with the reason; below it the commands that get saved work back."""
    if not result.items:
        return Text("There is nothing to clear away.")
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", "WHAT", "INSTANCE", "PATH"):
        shown.add_column(heading, no_wrap=heading != "PATH", overflow="fold")
    for item in result.items:
        fate = Text("stays", "yellow") if item.kept else Text("would go" if result.dry_run else "gone", "green")
        where = plain(f"{item.host}:{item.path}" if item.host else item.path)
        if item.kept:
            where.append_text(plain(f"\n{item.kept}", "dim"))
        shown.add_row(fate, Text(item.what), plain(item.instance_id or ""), where)
    return Group(shown, *_saved(result), _gc_summary(result))


def _saved(result: results.GcResult) -> list[Text]:
    saved = []
    for item in result.items:
        if item.saved_ref:
            command = texts.how_to_get_back(item.saved_ref, item.repository)
            # Saved work of an instance comes home; that of a worktree of no known instance stays on its host.
            saved.append(f"{command}  # on {item.host}" if item.host and item.what == "worktree" else command)
    words = "Once work that is nowhere else is saved," if result.dry_run else "Work that was nowhere else is saved;"
    heading = Text(f"{words} this makes a branch of it:")
    return [heading, *(_command(command) for command in saved)] if saved else []


def _command(command: str) -> Text:
    """On one line, however long: a copied line break would split the command."""
    text = plain(f"  {command}")
    text.no_wrap, text.overflow = True, "ignore"
    return text


def _gc_summary(result: results.GcResult) -> Text:
    going = sum(item.kept is None for item in result.items)
    of_all = f"{going} of {len(result.items)}"
    if result.dry_run:
        it_goes = "it goes" if going == 1 else "they go"
        return Text(f"{of_all} would go. Without --dry-run {it_goes}; work that is nowhere else is saved before.")
    return Text(f"{of_all} {'was' if going == 1 else 'were'} cleared away.")


def _warnings(warnings: Sequence[str]) -> list[Text]:
    return [plain(f"Warning: {warning}", "yellow") for warning in warnings]


def of_terminate(result: results.TerminateResult) -> RenderableType:
    parts: list[Text] = []
    for each in result.terminated:
        parts.append(plain(texts.of_terminated(each)))
        if each.saved_ref:
            parts.append(_command(texts.how_to_get_back(each.saved_ref, each.repository)))
    parts += [plain(line) for line in texts.of_still_running(result)]
    return Group(*parts) if parts else Text("Nothing was running.")


def age(since: str, now: datetime.datetime) -> str:
    """How long ago an ISO time was, in its largest unit."""
    seconds = max(0, round((now - datetime.datetime.fromisoformat(since)).total_seconds()))
    return next((f"{seconds // length}{unit}" for unit, length in _SPANS if seconds >= length), f"{seconds}s")


def of_git_batch(result: results.GitBatchResult) -> str:
    """The summary and the result of each operation."""
    given = [
        f"{each.type} in {each.workspace_dir}:\n{json.dumps(each.result, indent=2, ensure_ascii=False)}"
        for each in result.results
        if each.result is not None
    ]
    return "\n".join([texts.of_git_batch(result), *given])
