"""A team's file: what it makes, and what is wrong in it with its line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from actors.errors import InvalidRequestError
from mcp_entry.team_file.model import TeamFile, json_schema, load
from supervisor.api.requests import SpawnRequest

DOCUMENTATION = Path(__file__).resolve().parents[4] / "docs" / "team-file.md"
WHOLE = """\
defaults:
  model: opus
  permissionMode: plan
members:
  - name: boss
    role: executive
    context: Lead.
  - name: builder
    role: specialist
    parent: boss
    promptFile: prompts/builder.md
    model: haiku
    workDir: src
    labels: {gpu: "yes"}
    env: {MODE: test}
    prepare:
      copy: [.env]
      setup: make deps
"""


def write(directory: Path, text: str) -> Path:
    (directory / "prompts").mkdir(exist_ok=True)
    (directory / "prompts" / "builder.md").write_text("Build it.\n")
    path = directory / "team.yaml"
    path.write_text(text)
    return path


def fault(directory: Path, text: str) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        load(write(directory, text))
    return str(refused.value)


def members(text: str) -> str:
    return f"members:\n{text}"


def test_a_member_takes_every_argument_of_spawn_and_the_defaults(tmp_path: Path) -> None:
    boss, builder = load(write(tmp_path, WHOLE)).members
    assert boss.request == SpawnRequest.model_validate(
        {
            "name": "boss",
            "role": "executive",
            "context": "Lead.",
            "workDir": str(tmp_path.resolve()),
            "model": "opus",
            "permissionMode": "plan",
        }
    )
    assert builder.request == SpawnRequest.model_validate(
        {
            "name": "builder",
            "role": "specialist",
            "context": "Build it.\n",
            "parentId": "boss",
            "workDir": str(tmp_path.resolve() / "src"),
            "model": "haiku",
            "permissionMode": "plan",
            "labels": {"gpu": "yes"},
            "env": {"MODE": "test"},
            "prepare": {"copy": [".env"], "setup": "make deps"},
        }
    )


def test_every_argument_of_spawn_can_stand_in_a_file_so_that_new_ones_come_by_themselves() -> None:
    in_file = set(json_schema()["$defs"]["MemberOfFile"]["properties"])
    of_spawn = {field.alias or name for name, field in SpawnRequest.model_fields.items()}
    assert of_spawn - in_file == {"parentId", "requestId"}
    assert in_file - of_spawn == {"parent", "promptFile"}


def test_the_schema_holds_for_the_example(tmp_path: Path) -> None:
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.validate(yaml.safe_load(WHOLE), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"members": [{"name": "a", "role": "boss"}]}, schema)


def test_parents_come_before_those_they_lead_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    text = members(
        "  - {name: c, role: specialist, parent: b, context: x}\n"
        "  - {name: b, role: manager, parent: a, context: x}\n"
        "  - {name: a, role: executive, context: x}\n"
        "  - {name: d, role: specialist, context: x}\n"
    )
    levels = load(write(tmp_path, text)).levels()
    assert [[member.name for member in level] for level in levels] == [["a", "d"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", ["holds no team"]),
        ("members: []\n", ["line 1", "members has 0 items"]),
        (members("  - name: a\n    role: boss\n    context: x\n"), ["line 3: members[0].role cannot be 'boss'"]),
        (members("  - name: a\n    rol: specialist\n"), ["line 3: members[0].rol is no known", "Did you mean role?"]),
        (members("  - name: a\n    context: x\n"), ["line 2: members[0].role is missing"]),
        (members(f"  - {{name: {'a' * 41}, role: executive}}\n"), ["line 2: members[0]: name cannot be", "At most 40"]),
        (
            members("  - {name: a, role: specialist, context: x}\n  - {name: a, role: manager, context: x}\n"),
            ["line 3: the name a is given twice"],
        ),
        (
            members("  - name: a\n    role: specialist\n    context: x\n    parent: b\n"),
            ["line 5: no member of this file has the name b"],
        ),
        (
            members(
                "  - {name: a, role: specialist, context: x}\n  - {name: b, role: manager, parent: a, context: x}\n"
            ),
            ["line 3: a is a specialist; a manager is led by executive"],
        ),
        (
            members("  - {name: a, role: specialist, parent: a, context: x}\n"),
            ["line 2: a is a specialist; a specialist is led by"],
        ),
        (
            members("  - name: a\n    role: specialist\n    context: x\n    prepare:\n      copy: [ok, ../up]\n"),
            ["line 6: members[0].prepare.copy[1] cannot be '../up'"],
        ),
        (
            members("  - {name: a, role: specialist, context: x, workspaceMode: shared, prepare: {setup: x}}\n"),
            ["line 2", "prepare is for a worktree of its own"],
        ),
        (
            "defaults:\n  model: --x\n" + members("  - {name: a, role: executive}\n  - {name: b, role: executive}\n"),
            ["line 2: members[0].model cannot be '--x'"],
        ),
        ("defaults: {name: x}\n" + members("  - {role: executive}\n"), ["line 1: defaults.name is no default"]),
        (members("  - {name: a, role: specialist, context: x, promptFile: y}\n"), ["has both context and promptFile"]),
        (members("  - {name: a, role: specialist, promptFile: nix.md}\n"), ["line 2", "nix.md cannot be read"]),
        (members("  - {name: a, role: specialist, promptFile: /etc/passwd}\n"), ["line 2", "stays below"]),
        (members("  - {name: a, role: executive, name: b}\n"), [":2: members[0].name is given twice"]),
        (members("  - &x {name: a, role: executive}\n  - *x\n"), [":2: members[1] repeats another part"]),
        ("members: [\n  - x", [":2: this is no YAML"]),
        ("members:\n  - name: a\n   role: x\n", [":3: this is no YAML: this line is not indented as those"]),
        ("members:\n\t- name: a\n", [":2: this is no YAML: a tab stands here: indent with spaces"]),
        (
            'members:\n  - name: "a\n',
            ["a bracket or quotation mark is not closed (what it is part of begins in line 2)"],
        ),
        ("a: !!python/name:os.system\n", [":1: this is no YAML"]),
        ("[" * 10_000, ["nested too deeply"]),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    said = fault(tmp_path, text)
    for word in words:
        assert word in said


def test_a_fault_in_the_defaults_is_told_once(tmp_path: Path) -> None:
    text = "defaults:\n  model: --x\n" + members(
        "".join(f"  - {{name: a{number}, role: executive}}\n" for number in range(5))
    )
    assert fault(tmp_path, text).count("cannot be '--x'") == 1


def test_a_text_file_outside_of_the_directory_is_refused_however_it_is_reached(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("x")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to(tmp_path)
    for name in ("link", "up/secret"):
        said = fault(inside, members(f"  - {{name: a, role: specialist, promptFile: {name}}}\n"))
        assert "leads out of" in said


def test_a_pipe_in_place_of_a_text_does_not_stop_the_command(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in fault(tmp_path, members("  - {name: a, role: specialist, promptFile: pipe}\n"))


@pytest.mark.parametrize("content", [b"\xff", b"", b" \n"])
def test_a_text_file_holds_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.md").write_bytes(content)
    said = fault(tmp_path, members("  - {name: a, role: specialist, promptFile: t.md}\n"))
    assert "t.md is" in said


def test_a_member_without_a_task_can_be_compared_but_not_started(tmp_path: Path) -> None:
    text = members(
        "  - {name: lead, role: executive}\n  - {name: a, role: specialist}\n  - {name: spec_0_0_7, role: "
        "specialist, context: x}\n"
    )
    lead, a, unnamed = load(write(tmp_path, text)).members
    assert lead.request is not None
    assert lead.request.attended
    assert (a.request, unnamed.request) == (None, None)
    assert "give it context or promptFile" in a.why_not
    assert "give it a name" in unnamed.why_not


def digest(path: Path) -> str:
    return load(path).digest


def test_the_digest_is_of_the_file_its_texts_and_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    first = digest(path)
    assert digest(path) == first
    (tmp_path / "prompts" / "builder.md").write_text("Break it.\n")
    changed_text = digest(path)
    path.write_text(WHOLE + "# a word\n")
    changed_file = digest(path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "prompts").rename(elsewhere / "prompts")
    moved: TeamFile = load(path.rename(elsewhere / "team.yaml"))
    assert len({first, changed_text, changed_file, moved.digest}) == 4


def test_a_directory_that_leads_elsewhere_by_now_makes_another_digest(tmp_path: Path) -> None:
    (tmp_path / "file/src").mkdir(parents=True)
    (tmp_path / "private").mkdir()
    path = write(tmp_path / "file", "members:\n- {name: a, role: specialist, context: x, workDir: src}\n")
    first = digest(path)
    (tmp_path / "file/src").rmdir()
    (tmp_path / "file/src").symlink_to(tmp_path / "private")
    assert digest(path) != first


def test_the_example_of_the_documentation_is_a_team(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "web.md").write_text("Lead.")
    (tmp_path / "team.yaml").write_text(example)
    members = load(tmp_path / "team.yaml").members
    assert [(member.name, member.request is not None) for member in members] == [
        ("boss", True),
        ("web", True),
        ("cart", True),
    ]
