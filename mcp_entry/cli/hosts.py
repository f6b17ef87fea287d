"""The commands about the machines of a team."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcp_entry.cli.session import HomeOption, JsonOption, session
from mcp_entry.cli.terminal_text import plain, visible
from supervisor.api import results


def hosts(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the machines of the team."""
    with session(context, home, as_json) as team:
        result = cast("results.HostsResult", team.ask("hosts", {}, "asking Ray for its hosts"))
        team.output.show(result.model_dump(mode="json", by_alias=True), _table(result))


def drain(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="As `phalanx hosts` lists it.")],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Place instances there again.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when all are handed over. They are in any case.")] = True,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Wait no longer; default: 600.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Place nothing new on a machine and empty it.

    Those that are there are handed over to others, each when its turn is done.
    """
    asked = {"host": host, "undo": undo, "wait": wait, "timeoutSeconds": timeout}
    with session(context, home, as_json) as team:
        result = cast("results.DrainResult", team.ask("drain", asked, "handing over"))
        team.output.show(result.model_dump(mode="json", by_alias=True), _in_words(result))


def _table(result: results.HostsResult) -> RenderableType:
    table = Table("host", "address", "status", "instances", "slots", "labels", box=None, header_style="bold")
    for each in result.hosts:
        name = f"{each.host} (supervisor)" if each.supervisor else each.host
        labels = ", ".join(f"{key}={value}" for key, value in sorted(each.labels.items()))
        style = {"up": "", "drained": "yellow", "away": "red"}[each.status]
        words = (name, each.address, each.status, str(each.instances), str(each.slots), labels)
        table.add_row(*map(plain, words), style=style)
    return table


def _in_words(result: results.DrainResult) -> RenderableType:
    if not result.drained:
        return Text(f"{result.host} takes instances again.")
    left = [Text(visible(f"  {each.instance_id} {each.why}")) for each in result.remaining]
    end = "Still there; who can be handed over will be:" if left else "Nothing of the team is there any more."
    return Group(Text(f"{result.host} takes no new instances. {end}"), *left)
