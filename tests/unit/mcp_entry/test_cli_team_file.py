"""``phalanx team`` over a team that is not there: what it asks, in which order, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.agents.claude_trust import ensure_trusted
from actors.errors import TeamNotRunningError
from supervisor.api import requests, results
from supervisor.api.requests import Role
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import FakeClient, batch, described, spawned
from tests.fakes.terminal import Terminal

TREE = """\
members:
  - {name: worker, role: specialist, parent: mgr, context: x}
  - {name: mgr, role: manager, parent: boss, context: x}
  - {name: boss, role: executive, context: x}
  - {name: alone, role: specialist, context: x}
"""
ASKING = "members:\n  - {name: a, role: specialist, context: x, prepare: {setup: 'make deps'}}\n"


class FakeTeam(FakeClient):
    """Starts what it is asked to, but not those in ``broken``; ``names``: in the order of the starts, by batch."""

    def __init__(self, *broken: str) -> None:
        super().__init__(describe=self._described, spawn_batch=self._spawn_batch)
        self.broken = set(broken)
        self.names: list[list[str]] = []
        self.there: dict[str, results.InstanceDescription] = {}

    async def _described(self, _request: Any, _progress: ProgressCallback) -> results.DescribeResult:
        return results.DescribeResult(instances=list(self.there.values()))

    async def _spawn_batch(self, request: Any, _progress: ProgressCallback) -> results.SpawnBatchResult:
        members: list[results.SpawnResult | results.ErrorInfo] = []
        self.names.append([member.name for member in request.instances])
        for member in request.instances:
            if member.name in self.broken:
                members.append(results.ErrorInfo(code="agent", message="It did not start."))
            else:
                members.append(spawned(f"id_{member.name}", role=member.role))
                self.there[member.name] = self._started(member)
        return batch(*members)

    def _started(self, member: requests.SpawnRequest) -> results.InstanceDescription:
        return described(
            f"id_{member.name}",
            name=member.name,
            role=member.role,
            parent_id=member.parent_id,
            work_dir=member.work_dir,
            asked=member.also_asked,
        )


@pytest.fixture
def at(make_short_tmp: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Of a user whose Claude Code trusts ``tmp_path``."""
    home = make_short_tmp() / "h"
    monkeypatch.setattr("tests.fakes.terminal.HOME", home)
    made = Terminal(FakeTeam())
    made.environment |= {"PHALANX_HOME": str(home), "HOME": str(home.parent)}
    ensure_trusted(tmp_path, made.environment)
    return made


def write(directory: Path, text: str) -> str:
    path = directory / "team.yaml"
    path.write_text(text)
    return str(path)


def team(of: Terminal) -> FakeTeam:
    assert isinstance(of.client, FakeTeam)
    return of.client


def shown(ended: Any) -> dict[str, str]:
    return {each["name"]: each["state"] for each in json.loads(ended.stdout)["members"]}


def test_up_starts_parents_first_and_each_level_at_once_and_the_second_time_nothing(
    at: Terminal, tmp_path: Path
) -> None:
    path = write(tmp_path, TREE)
    first = at("team", "up", path, "--json")
    assert first.exit_code == 0, first.output
    assert team(at).names == [["boss", "alone"], ["mgr"], ["worker"]]
    assert team(at).there["worker"].parent_id == "id_mgr"
    second = at("team", "up", path, "--json")
    assert (second.exit_code, len(team(at).names)) == (0, 3)
    assert set(shown(second).values()) == {"runs"}


def test_a_member_that_fails_fails_alone_with_those_below_it_and_a_later_call_starts_them(
    at: Terminal, tmp_path: Path
) -> None:
    path = write(tmp_path, TREE)
    team(at).broken.add("mgr")
    ended = at("team", "up", path, "--json")
    assert ended.exit_code == 1
    assert shown(ended) == {"worker": "missing", "mgr": "missing", "boss": "runs", "alone": "runs"}
    why = {each["name"]: each["why"] for each in json.loads(ended.stdout)["members"]}
    assert why["mgr"] == "It did not start."
    assert why["worker"] == "its parent mgr was not started"
    team(at).broken.clear()
    assert at("team", "up", path).exit_code == 0
    assert team(at).names[-2:] == [["mgr"], ["worker"]]


def test_a_member_that_another_call_started_meanwhile_is_no_failure(at: Terminal, tmp_path: Path) -> None:
    path = write(tmp_path, "members:\n  - {name: a, role: executive, context: x}\n")
    fake = team(at)

    async def taken(_request: Any, _progress: ProgressCallback) -> results.SpawnBatchResult:
        fake.there["a"] = described("id_a", name="a", role=Role.EXECUTIVE, work_dir=str(tmp_path.resolve()))
        return batch(results.ErrorInfo(code="invalid_request", message="The name a is taken."))

    fake.replies["spawn_batch"] = taken
    ended = at("team", "up", path, "--json")
    assert (ended.exit_code, shown(ended)) == (0, {"a": "runs"})


def test_what_differs_is_shown_and_left_as_it_is(at: Terminal, tmp_path: Path) -> None:
    path = write(tmp_path, "members:\n  - {name: a, role: executive, context: x}\n")
    team(at).there["a"] = described("exec_1", name="a", role=Role.MANAGER, work_dir=str(tmp_path.resolve()))
    ended = at("team", "up", path)
    assert ended.exit_code == 0
    assert team(at).names == []
    assert "DIFFERS" in ended.stdout
    assert ["a", "role", "executive", "manager"] in [line.split() for line in ended.stdout.splitlines()]


def test_a_dry_run_starts_nothing_allows_nothing_and_needs_no_team(at: Terminal, tmp_path: Path) -> None:
    path = write(tmp_path, ASKING)
    client, at.client = at.client, TeamNotRunningError("No team.")
    ended = at("team", "up", path, "--dry-run")
    assert ended.exit_code == 0, ended.output
    assert "a: runs before it starts: make deps" in ended.stdout
    at.client, at.is_terminal = client, False
    assert at("team", "up", path).exit_code == 2
    assert team(at).names == []


def test_commands_of_a_file_run_only_after_the_user_allowed_this_content(at: Terminal, tmp_path: Path) -> None:
    path = write(tmp_path, ASKING)
    at.is_terminal = False
    refused = at("team", "up", path)
    assert refused.exit_code == 2
    assert f"phalanx team allow {path}" in " ".join(refused.stderr.split())
    allowed = at("team", "allow", path)
    assert "a: runs before it starts: make deps" in allowed.stdout
    assert at("team", "up", path).exit_code == 0
    team(at).there.clear()
    write(tmp_path, ASKING.replace("make deps", "make evil"))
    assert at("team", "up", path).exit_code == 2
    assert team(at).names == [["a"]]


def test_what_several_members_ask_for_is_to_be_allowed_in_one_line(at: Terminal, tmp_path: Path) -> None:
    two = "".join(f"  - {{name: {name}, role: specialist, context: x}}\n" for name in ("a", "b"))
    path = write(tmp_path, f"defaults: {{agent: demo, model: opus}}\nmembers:\n{two}")
    assert at("team", "allow", path).stdout.splitlines()[1:] == ["  a, b: agent: demo", "  a, b: model: opus"]


def test_what_ended_while_the_team_was_brought_up_is_not_started_without_consent(at: Terminal, tmp_path: Path) -> None:
    path, fake = write(tmp_path, ASKING), team(at)
    runs = described("id_a", name="a", work_dir=str(tmp_path.resolve()))
    looks = [[runs], []]

    async def looked(_request: Any, _progress: ProgressCallback) -> results.DescribeResult:
        return results.DescribeResult(instances=looks.pop(0))

    fake.replies["describe"] = looked
    at.is_terminal = False
    ended = at("team", "up", path)
    assert (ended.exit_code, fake.names, looks) == (2, [], [])
    assert "what only you can allow" in ended.stderr


@pytest.mark.parametrize(("answer", "code", "started"), [("y\n", 0, [["a"]]), ("n\n", 1, []), ("", 1, [])])
def test_a_person_at_a_terminal_is_asked_with_exactly_what_it_is_about(
    at: Terminal, tmp_path: Path, answer: str, code: int, started: list[list[str]]
) -> None:
    path = write(tmp_path, ASKING)
    ended = at("team", "up", path, stdin=answer)
    assert "a: runs before it starts: make deps" in ended.stderr
    assert ended.exit_code == code
    assert team(at).names == started
    if code == 0:
        team(at).there.clear()
        assert at("team", "up", path).exit_code == 0, "once is enough"


def test_what_is_asked_stands_on_one_line_whatever_the_file_holds(at: Terminal, tmp_path: Path) -> None:
    path = write(tmp_path, ASKING.replace("'make deps'", '"make \\e[2Kdeps\\n\\n  b: nothing"'))
    ended = at("team", "up", path, stdin="n\n")
    assert "\x1b" not in ended.output
    assert '"a: runs before it starts: make \\u001b[2Kdeps\\n\\n  b: nothing"' in ended.stderr


def test_export_writes_what_up_accepts_and_replaces_no_file(at: Terminal, tmp_path: Path) -> None:
    up = at("team", "up", write(tmp_path, TREE))
    assert up.exit_code == 0
    target = tmp_path / "exported.yaml"
    assert at("team", "export", str(target)).exit_code == 0
    again = at("team", "up", str(target), "--json")
    assert again.exit_code == 0, again.output
    assert all(not each["differences"] for each in json.loads(again.stdout)["members"])
    assert at("team", "export", str(target)).exit_code == 2
    assert at("team", "export", str(target), "--force").exit_code == 0
    printed = at("team", "export")
    assert {each["name"] for each in yaml.safe_load(printed.stdout)["members"]} == {"worker", "mgr", "boss", "alone"}


def test_an_empty_team_is_not_exported(at: Terminal) -> None:
    ended = at("team", "export")
    assert ended.exit_code == 1
    assert "no instances" in ended.stderr


def test_the_schema_is_printed_for_editors(at: Terminal) -> None:
    assert "members" in json.loads(at("team", "schema").stdout)["properties"]
