"""``phalanx dashboard``: the way from a terminal to the team's page in a browser."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from actors.errors import UnavailableError, WrongStateError
from actors.home import leader_of
from actors.host.endpoint import ADDRESS, endpoint_runs, kept_port
from mcp_entry.cli.session import CliSession
from mcp_entry.web.sign_in import LINK_S, make_link
from supervisor.api.verbs import TeamVerbs


def dashboard(
    team: CliSession,
    *,
    url: Annotated[bool, typer.Option("--url", help="Only print the link: it is good once, for five minutes.")] = False,
) -> None:
    """Open the team's page in your browser, signed in. Without a display it prints the link."""
    if leader := leader_of(team.home):
        raise WrongStateError(f"The team of this host is led from {leader}: run `phalanx dashboard` there.")
    team.ask(TeamVerbs.status, "looking")
    port = kept_port(team.home)
    if not (port and endpoint_runs(team.home)):
        raise UnavailableError(
            "The process that serves the page does not run yet: try again in a moment. If it stays so, `phalanx "
            "doctor` says what is wrong."
        )
    page = f"http://{ADDRESS}:{port}/"
    link = f"{page}sign-in?once={make_link(team.home)}"
    opened = not url and not team.output.as_json and team.context.browse(link)
    if opened:
        words = f"The page of the team is open in your browser: {page}"
    elif url:
        words = link
    else:
        words = (
            f"{link}\n"
            f"Open it in a browser within {LINK_S / 60:.0f} minutes; it signs in once. On another machine, run this "
            f"there first:\nssh -N -L {port}:{ADDRESS}:{port} THIS_HOST"
        )
    # A link that is broken into lines cannot be copied.
    team.output.show({"url": link, "opened": opened}, Text(words, no_wrap=True, overflow="ignore"))
