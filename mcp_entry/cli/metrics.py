"""``phalanx metrics``: the team's figures for Prometheus, and the configuration by which Prometheus scrapes them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml

from actors.errors import TeamNotRunningError
from actors.host.endpoint import ADDRESS, kept_port
from mcp_entry.cli.output import plain
from mcp_entry.cli.session import CliSession
from supervisor.api.verbs import TeamVerbs
from supervisor.metrics.scrape_token import keep_scrape_token


def metrics(
    team: CliSession,
    *,
    scrape_config: Annotated[
        bool, typer.Option("--scrape-config", help="Print the configuration with which Prometheus scrapes this team.")
    ] = False,
) -> None:
    """Print the team's figures as Prometheus scrapes them."""
    if scrape_config:
        configuration = _scrape_config(team)
        team.output.show(configuration, plain(yaml.safe_dump(configuration, sort_keys=False).rstrip("\n")))
    else:
        result = team.ask(TeamVerbs.metrics, "looking")
        team.show(result, plain(result.text.rstrip("\n")))


def _scrape_config(team: CliSession) -> dict[str, Any]:
    """Raises ``TeamNotRunningError`` while the team has no port, which it keeps from its first start on."""
    port = kept_port(team.home)
    if not port:
        raise TeamNotRunningError(
            f"The team in {team.home.root} has no port yet at which it can be scraped. `phalanx up` gives it one."
        )
    keep_scrape_token(team.home)
    job = {
        "job_name": "phalanx",
        "scrape_interval": "15s",
        "authorization": {"type": "Bearer", "credentials_file": str(team.home.metrics_token_file)},
        "static_configs": [{"targets": [f"{ADDRESS}:{port}"]}],
    }
    return {"scrape_configs": [job]}
