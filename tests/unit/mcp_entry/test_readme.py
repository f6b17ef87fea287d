"""The README, and the tables of tools, commands and settings in docs/, held against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from mcp_entry.cli.app import app
from mcp_entry.cli.lazy import loaded
from mcp_entry.tools import TOOLS
from supervisor.settings import SettingInfo, describe

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
FOR_USERS = ("begin", "promises", "tools", "cli", "settings", "team-file", "large-teams", "cluster", "security")
GROUP = cast("TyperGroup", get_command(app))
WORDS_FOR_NOTHING = ("none", "any")


def page(name: str) -> str:
    return (ROOT / f"docs/{name}.md").read_text()


MENTIONS = sorted(
    {
        mention
        for text in (README, *map(page, FOR_USERS))
        for mention in re.findall(r"(?:^|`|&& )phalanx ([^`#&\n]+)", text, re.MULTILINE)
    }
)


def rows(name: str) -> list[list[str]]:
    """The cells of the page's first table, without its head."""
    lines = page(name).partition("\n|")[2].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def commands(group: TyperGroup, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def default(setting: SettingInfo) -> str:
    try:
        number = f"{float(setting.default):g}"
    except ValueError:
        return setting.default
    return f"{number} {setting.unit}" if setting.unit in ("s", "ms") else number


def test_the_readme_fits_on_one_screen_and_its_links_lead_somewhere() -> None:
    assert README.count("\n") <= 60
    for link in re.findall(r"\]\((?!https:)([^)#]+)", README):
        assert (ROOT / link).is_file(), link


def test_the_comparison_in_the_readme_is_what_was_measured() -> None:
    measured = page("comparison").splitlines()
    shown = README.split("## Compared with bare terminals")[1].split("\n## ")[0]
    rows_shown = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows_shown) == 7
    assert set(rows_shown) <= set(measured)


def test_the_table_of_tools_names_every_tool_once() -> None:
    named = [name for row in rows("tools") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(TOOLS)


def test_every_argument_and_field_that_the_table_of_tools_names_exists() -> None:
    known = {
        name for tool in TOOLS.values() for model in (tool.verb.request, tool.verb.result) for name in fields(model)
    }
    for row in rows("tools"):
        assert set(re.findall(r"`(\w+)`", row[1])) <= known


def fields(model: type) -> set[str]:
    return set(re.findall(r"\w+", str(model.model_json_schema())))  # type: ignore[attr-defined]


def test_the_table_of_settings_names_every_setting_with_its_variable_and_its_default() -> None:
    told = {re.findall(r"`(\w+)`", row[1])[0]: (row[0].strip("`"), row[2].strip("`")) for row in rows("settings")}
    settings = describe()[1:]
    assert list(told) == [setting.name for setting in settings]
    for setting in settings:
        variable, given = told[setting.name]
        assert variable == setting.variable
        assert given == default(setting) or (not setting.default and given in WORDS_FOR_NOTHING)


def test_the_list_of_commands_is_complete() -> None:
    listed = page("cli").split("lists all commands:")[1].split(". ")[0]
    assert sorted(re.findall(r"`([^`]+)`", listed)) == sorted(commands(GROUP))


def test_the_front_page_of_the_site_leads_to_every_other_page() -> None:
    others = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\(([^)#]+)", page("index"))) == others


@pytest.mark.parametrize("mention", MENTIONS)
def test_a_command_that_the_readme_uses_exists_with_its_options(mention: str) -> None:
    words = mention.split()
    command: Any = GROUP
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        command = loaded(command.commands[words.pop(0)])
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--json", "-h"}
    assert {word for word in words if word.startswith("--")} <= known
