"""The commands by name, and the way in."""

from __future__ import annotations

import typer

from mcp_entry.cli import doctor, instances, team
from mcp_entry.cli.session import Commands, real_world

app = typer.Typer(
    name="phalanx",
    cls=Commands,
    help="Lead a team of Claude Code instances. `phalanx mcp add` lets a Claude lead it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
mcp = typer.Typer(help="Phalanx as an MCP server of Claude Code.", no_args_is_help=True, rich_markup_mode=None)

app.command("up")(team.up)
app.command("down")(team.down)
app.command("status")(team.status)
app.command("spawn")(instances.spawn)
app.command("send")(instances.send)
app.command("read")(instances.read)
app.command("list")(instances.list_)
app.command("wait")(instances.wait)
app.command("respond")(instances.respond)
app.command("interrupt")(instances.interrupt)
app.command("restart")(instances.restart)
app.command("recycle")(instances.recycle)
app.command("attach")(instances.attach)
app.command("terminate")(instances.terminate)
app.command("git")(team.git)
app.command("prewarm")(team.prewarm)
app.command("perf")(team.perf)
app.command("tune")(team.tune)
app.command("hosts")(team.hosts)
app.command("drain")(team.drain)
app.command("gc")(team.gc)
app.command("restore")(team.restore)
mcp.command("add")(doctor.add)
app.add_typer(mcp, name="mcp")
app.command("doctor")(doctor.doctor)


def main() -> None:
    app(obj=real_world())
