"""The commands by name, and the way in."""

from __future__ import annotations

import typer

from mcp_entry.cli import attaching, doctor, git, hosts, instances, lifecycle, performance, pool, registration
from mcp_entry.cli.session import real_world
from mcp_entry.cli.usage import Commands

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

app.command("up")(lifecycle.up)
app.command("down")(lifecycle.down)
app.command("status")(lifecycle.status)
app.command("spawn")(instances.spawn)
app.command("send")(instances.send)
app.command("read")(instances.read)
app.command("list")(instances.list_)
app.command("wait")(instances.wait)
app.command("respond")(instances.respond)
app.command("interrupt")(instances.interrupt)
app.command("restart")(instances.restart)
app.command("recycle")(instances.recycle)
app.command("attach")(attaching.attach)
app.command("terminate")(instances.terminate)
app.command("git")(git.git)
app.command("prewarm")(pool.prewarm)
app.command("perf")(performance.perf)
app.command("tune")(performance.tune)
app.command("hosts")(hosts.hosts)
app.command("drain")(hosts.drain)
app.command("gc")(lifecycle.gc)
mcp.command("add")(registration.add)
app.add_typer(mcp, name="mcp")
app.command("doctor")(doctor.doctor)


def main() -> None:
    app(obj=real_world())
