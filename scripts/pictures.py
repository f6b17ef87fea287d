"""Makes the pictures of README and docs: ``python -m scripts.pictures``, after ``scripts/setup --dev --claude --page``.

It brings up a team of thirteen real Claude Code instances in a temporary home. They work on a sample repository with
their own tools and talk to a stand-in of the API, which has each of them do its part of ``_CREW``. Then Chromium takes
pictures of the page, and a terminal of ``phalanx top``. The team is brought down afterwards. Nothing in a picture is
drawn by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from actors.host.endpoint import kept_port
from mcp_entry.web.sign_in import make_link
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.api.results import InstanceInfo
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.people import People
from tests.standin.api import Answer, ApiStandIn, Json, text_block, tool_block, tool_results, turn_text
from tests.standin.claude_home import make_claude_home, standin_environment
from tests.standin.claude_versions import installed_claude

_PARSER = """\
def parse(line: str) -> tuple[str, int]:
    name, count = line.split()
    return name, int(count)
"""
_PARSER_TEST = """\
from orders import parse


def test_a_line_is_an_order():
    assert parse("tea 2") == ("tea", 2)
"""
_STORAGE = """\
import sqlite3


def connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path)
"""
_STORAGE_TEST = """\
from storage import connect


def test_an_order_is_kept():
    kept = connect(":memory:")
    kept.execute("create table orders (name, count)")
"""
PICTURES = Path(__file__).resolve().parent.parent / "docs/pictures"
_PAGE, _PHONE, _TERMINAL = (1440, 900), (390, 844), (120, 34)
_PATIENCE_S = 90.0
_LONG_S = 600.0
"""A turn that the picture shows under way lasts longer than the team."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """What one instance is asked, and what its model does then: its tools one after the other, and a last word."""

    name: str
    role: Role = Role.SPECIALIST
    lead: str = ""
    task: str
    tools: Sequence[tuple[str, Json]] = ()
    says: str = ""
    """Empty: the turn is still under way."""
    tokens: int = 18_000
    """How long its conversation is."""
    stands: str = "ready"
    """The status in which the picture shows it."""

    @property
    def answers(self) -> list[Json]:
        return [
            *(tool_block(tool, given) for tool, given in self.tools),
            *([text_block(self.says)] if self.says else []),
        ]


def _writes(path: str, text: str) -> tuple[str, Json]:
    """``path`` is below the working directory; the tool wants it whole, see ``_placed``."""
    return "Write", {"file_path": path, "content": text}


def _runs(command: str, why: str) -> tuple[str, Json]:
    return "Bash", {"command": command, "description": why}


def _commits(words: str) -> list[tuple[str, Json]]:
    return [_runs("git add -A", "Stage the work"), _runs(f"git commit -q -m '{words}'", "Commit the work")]


_CREW = (
    _Member(
        name="shop",
        role=Role.EXECUTIVE,
        task="Lead the rebuild of the shop. Two managers work below you.",
        says="Backend and frontend are briefed. I merge when the checks of both pass.",
        tokens=41_000,
    ),
    _Member(
        name="backend",
        role=Role.MANAGER,
        lead="shop",
        task="Lead the backend: parser, API, storage, payments.",
        says="Three of four have handed in. Payments waits for a decision about its package.",
        tokens=33_000,
    ),
    _Member(
        name="frontend",
        role=Role.MANAGER,
        lead="shop",
        task="Lead the frontend: layout, checkout, search.",
        says="Layout is merged into my branch. Checkout has a question, search is under way.",
        tokens=29_000,
    ),
    _Member(
        name="quality",
        role=Role.MANAGER,
        lead="shop",
        task="Lead the tests and the docs.",
        says="Unit tests and docs are under way.",
        tokens=21_000,
    ),
    _Member(
        name="parser",
        lead="backend",
        task="Write the parser of orders in orders.py, with tests.",
        tools=[
            _writes("orders.py", _PARSER),
            _writes("test_orders.py", _PARSER_TEST),
            *_commits("Parse orders"),
        ],
        says="The parser is done: orders.py with its test, committed.",
        tokens=52_000,
    ),
    _Member(
        name="api",
        lead="backend",
        task="Write the HTTP API of the shop in api.py.",
        tools=[_writes("api.py", "ROUTES = {'/orders': 'orders', '/items': 'items'}\n"), *_commits("Route the API")],
        says="Two routes stand, committed. Next would be paging.",
        tokens=61_000,
    ),
    _Member(
        name="storage",
        lead="backend",
        task="Keep orders in SQLite, in storage.py.",
        tools=[
            _writes("storage.py", _STORAGE),
            *_commits("Keep orders in SQLite"),
        ],
        tokens=38_000,
        stands="busy",
    ),
    _Member(
        name="payments",
        lead="backend",
        task="Connect the payment provider's package.",
        tools=[_runs("npm install --save-exact payments-sdk@4.2.0", "Install the provider's SDK")],
        tokens=24_000,
        stands="waiting_permission",
    ),
    _Member(
        name="layout",
        lead="frontend",
        task="Build the page layout in layout.css.",
        tools=[
            _writes("layout.css", "main { display: grid; grid-template-columns: 16rem 1fr; }\n"),
            *_commits("Lay out the page"),
        ],
        says="The grid is committed. It folds into one column below 40 rem.",
        tokens=27_000,
    ),
    _Member(
        name="checkout",
        lead="frontend",
        task="Build the checkout.",
        tools=[
            (
                "AskUserQuestion",
                {
                    "questions": [
                        {
                            "question": "May a guest check out without an account?",
                            "header": "Guests",
                            "multiSelect": False,
                            "options": [
                                {"label": "Yes", "description": "An e-mail address is enough"},
                                {"label": "No", "description": "An account is made first"},
                            ],
                        }
                    ]
                },
            )
        ],
        tokens=31_000,
        stands="waiting_permission",
    ),
    _Member(
        name="search",
        lead="frontend",
        task="Build the search of items in search.ts.",
        tools=[_writes("search.ts", "export const matches = (name: string, words: string) => name.includes(words);\n")],
        tokens=22_000,
        stands="busy",
    ),
    _Member(
        name="unit-tests",
        lead="quality",
        task="Cover orders and storage with unit tests.",
        tools=[
            _writes("test_storage.py", _STORAGE_TEST),
            _runs("git status --short", "See what is there"),
        ],
        tokens=44_000,
        stands="busy",
    ),
    _Member(
        name="docs",
        lead="quality",
        task="Write docs/shop.md for those who run the shop.",
        tools=[
            _writes("docs/shop.md", "# The shop\n\nStart it with `python -m shop`.\n"),
            *_commits("Tell how to run the shop"),
        ],
        says="docs/shop.md is committed. It needs a word on backups once storage is in.",
        tokens=19_000,
    ),
)


@dataclass(slots=True)
class _Models(ApiStandIn):
    """Answers each conversation with what its member does."""

    crew: Sequence[_Member] = field(default=_CREW)

    def answer(self, request: Json) -> Answer:
        typed = "\n".join(turn_text(message) for message in request["messages"] if message["role"] == "user")
        member = next((each for each in self.crew if each.task in typed), None)
        if member is None:
            return Answer([text_block("Understood.")])
        done = sum(1 for message in request["messages"] if message["role"] == "user" and tool_results(message))
        if done < len(member.answers):
            answer = _placed(member.answers[done], json.dumps(request["system"]))
            return Answer([answer], input_tokens=member.tokens + 900 * done)
        return Answer([text_block("")], delay_s=_LONG_S)


def _placed(answer: Json, system: str) -> Json:
    """The call of a tool with the whole path, as the system prompt tells the working directory."""
    found = re.search(r"[Ww]orking directory: ([^\\\s]+)", system)
    given = answer.get("input", {})
    if found is None or "file_path" not in given:
        return answer
    return {**answer, "input": {**given, "file_path": f"{found[1]}/{given['file_path']}"}}


def _allow_tools(user: Path) -> None:
    """As a person's own settings do it."""
    directory = user / ".claude"
    directory.mkdir(parents=True, exist_ok=True)
    rules = ["Bash(git add:*)", "Bash(git commit:*)", "Bash(git status:*)"]
    (directory / "settings.json").write_text(json.dumps({"permissions": {"allow": rules}}))


async def _start(client: SupervisorClient, team: Team) -> dict[str, str]:
    """Level by level; ids by name."""
    ids: dict[str, str] = {}
    for role in Role:
        level = [each for each in _CREW if each.role is role]
        asked = [
            team.specialist(
                each.task,
                role=each.role,
                name=each.name,
                parent_id=ids.get(each.lead),
                permission_mode="acceptEdits",
            )
            for each in level
        ]
        batch = await client.spawn_instances_batch(asked)
        if not batch.success:
            raise RuntimeError(f"not all were started: {[each.error for each in batch.instances if each.error]}")
        ids |= {each.name: made.instance_id or "" for each, made in zip(level, batch.instances, strict=True)}
    return ids


async def _stands_as_planned(client: SupervisorClient) -> None:
    """Raises ``RuntimeError`` when the team does not come to stand so."""
    planned = {each.name: each for each in _CREW}

    def stands(each: InstanceInfo) -> bool:
        member = planned[each.name or ""]
        return each.status.value == member.stands and (each.context_tokens or 0) >= member.tokens

    cursor: str | None = None
    shown: dict[str, InstanceInfo] = {}
    deadline = time.monotonic() + _PATIENCE_S
    while len(shown) < len(_CREW) or not all(map(stands, shown.values())):
        if time.monotonic() > deadline:
            others = [f"{each.name} is {each.status}: {each.activity}" for each in shown.values() if not stands(each)]
            raise RuntimeError(f"not as planned after {_PATIENCE_S:.0f} s: {'; '.join(others)}")
        news = await client.changes(requests.ChangesRequest(cursor=cursor, timeout_seconds=10))
        shown = {**({} if news.complete else shown), **{each.instance_id: each for each in news.instances}}
        cursor = news.cursor


async def _signed_in(browser: Browser, team: Team, size: tuple[int, int], scheme: str) -> Page:
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{kept_port(team.home)}/sign-in?once={make_link(team.home)}")
    await expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=30_000)
    await expect(page.get_by_text("payments").first).to_be_visible()
    await expect(page.get_by_text("1↑").first).to_be_visible(timeout=30_000)
    return page


async def _take_pictures_of_page(browser: Browser, team: Team, ids: dict[str, str], to: Path) -> None:
    page = await _signed_in(browser, team, _PAGE, "light")
    await page.screenshot(path=to / "page.png")
    dark = await _signed_in(browser, team, _PAGE, "dark")
    await dark.goto(f"http://127.0.0.1:{kept_port(team.home)}/#/i/{ids['parser']}/conversation")
    await expect(dark.get_by_role("log", name="Conversation").get_by_text("The parser is done")).to_be_visible()
    await dark.screenshot(path=to / "page-instance.png")
    phone = await _signed_in(browser, team, _PHONE, "light")
    await phone.screenshot(path=to / "page-phone.png")


async def _take_picture_of_top(browser: Browser, team: Team, people: People, to: Path) -> None:
    person = await people.runs([str(Path(sys.executable).with_name("phalanx")), "top"], _TERMINAL)
    await person.until("2 need you")
    if "asks to use Bash" not in await person.sees():  # the other one has asked first
        await person.presses("n")
    await person.until(lambda screen: "asks to use Bash" in screen and "4. No" in screen, "the team in phalanx top")
    shown = Text.from_ansi(await people.run("capture-pane", "-e", "-p"))
    console = Console(record=True, width=_TERMINAL[0], file=io.StringIO())
    console.print(shown, end="")
    page = await (await browser.new_context(viewport={"width": 1200, "height": 800})).new_page()
    lines = console.export_html(theme=MONOKAI, inline_styles=True, code_format="<pre>{code}</pre>")
    style = (
        "margin:0;padding:16px;display:inline-block;background:#0c0c0c;color:#d9d9d9;font:14px/18px 'DejaVu Sans Mono'"
    )
    reach = "<style>span { padding: 1px 0 2px }</style>"  # the background of a row goes under its underscores
    shot = f'<div id=shot style="{html.escape(style)}">{lines}</div>'
    await page.set_content(f"{reach}<body style='margin:0'>{shot}</body>")
    await page.locator("#shot").screenshot(path=to / "top.png")
    await person.presses("q")


async def _take_pictures(team: Team, directory: Path, to: Path) -> None:
    async with await team.connect() as client:
        ids = await _start(client, team)
        await _stands_as_planned(client)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            people = People(directory, team.environment, team.home.tmux_socket)
            try:
                await _take_pictures_of_page(browser, team, ids, to)
                await _take_picture_of_top(browser, team, people, to)
            finally:
                await people.close()
                await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, default=PICTURES, metavar="DIRECTORY")
    to: Path = parser.parse_args().to
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="phx", dir="/tmp") as scratch, _Models() as models:
        directory = Path(scratch)
        user = make_claude_home(directory / "user")
        _allow_tools(user)
        team = bring_up(
            directory,
            PHALANX_CLAUDE_COMMAND=str(installed_claude("newest")),
            MAX_CONCURRENT_SPAWNS="4",
            **standin_environment(models.url, user),
        )
        try:
            asyncio.run(_take_pictures(team, directory, to))
        finally:
            team.runtime.down(lambda step: None)


if __name__ == "__main__":
    main()
