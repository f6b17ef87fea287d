"""What a client sees of the entry's process: its stdout, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.integration.mcp_entry.conftest import PROMPTLY_S, ROOT, EntryProcess, StartEntry

NOISY = ("-m", "tests.integration.mcp_entry.noisy_entry")


@pytest.fixture
def noisy(start_entry: StartEntry) -> EntryProcess:
    entry = start_entry(*NOISY)
    entry.initialize()
    return entry


def begin_to_wait(entry: EntryProcess) -> None:
    entry.begin("tools/call", name="wait", arguments={"instanceIds": ["spec_1"]}, _meta={"progressToken": 1})
    while entry.next_message()["params"]["message"] != "waiting":
        pass


def test_the_entry_loads_nothing_that_only_the_command_or_the_team_needs() -> None:
    words = "import sys, mcp_entry.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "mcp_entry.server" in loaded.split()
    assert not {"ray", "rich", "typer", "psutil", "libtmux", "git", "redis"} & set(loaded.split())


def test_stdout_carries_only_json_rpc_whatever_is_printed_beside_it(noisy: EntryProcess) -> None:
    for _ in range(3):
        assert "isError" not in noisy.call("list") or not noisy.call("list")["isError"]
    noisy.end_input()
    assert noisy.exit_code(PROMPTLY_S) == 0
    assert noisy.process.stdout is not None
    assert noisy.process.stdout.read() == b""
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in noisy.lines)
    assert noisy.process.stderr is not None
    assert noisy.process.stderr.read().count(b"noise") >= 4


def test_the_end_of_the_input_ends_it_promptly_even_while_a_call_waits(noisy: EntryProcess) -> None:
    begin_to_wait(noisy)
    noisy.end_input()
    assert noisy.exit_code(PROMPTLY_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(noisy: EntryProcess, number: signal.Signals) -> None:
    begin_to_wait(noisy)
    noisy.process.send_signal(number)
    assert noisy.exit_code(PROMPTLY_S) == -number  # by the kernel: nothing of ours runs first


def test_a_client_that_goes_away_without_reading_ends_it_without_a_word(noisy: EntryProcess) -> None:
    assert noisy.process.stdout is not None
    assert noisy.process.stderr is not None
    noisy.begin("tools/list")
    noisy.process.stdout.close()
    noisy.begin("tools/list")
    noisy.end_input()
    assert noisy.exit_code(PROMPTLY_S) == 0
    assert noisy.process.stderr.read() == b""


def test_a_line_that_is_no_message_harms_no_other(noisy: EntryProcess) -> None:
    for line in ("", "no json", '{"jsonrpc": "2.0"}', '"\\ud800"', "[" * 5000, "[]"):
        noisy.write(line)
        assert noisy.ask("ping") == {}


def test_a_call_with_half_a_character_is_answered_and_not_dropped(noisy: EntryProcess) -> None:
    arguments = r'{"instanceId": "spec_1_1_1", "text\ud83d": "\ud83d\ude00 \ud83d"}'
    call = '"method": "tools/call", "params": {"name": "send", "arguments": '
    noisy.write('{"jsonrpc": "2.0", "id": 99, ' + call + arguments + "}}")
    assert "text? is no known argument" in noisy.answer(99)["result"]["content"][0]["text"]


def test_a_message_of_a_megabyte_passes(noisy: EntryProcess) -> None:
    result = noisy.call("send", instanceId="spec_1_1_1", message="ä\u2028" * 200_000)
    assert not result.get("isError")


def test_its_log_is_private_and_tells_of_its_start_and_end(start_entry: StartEntry, short_tmp: Path) -> None:
    entry = start_entry()
    entry.initialize()
    entry.end_input()
    assert entry.exit_code(PROMPTLY_S) == 0
    log = short_tmp / "home" / "logs" / "mcp-entry.log"
    assert log.stat().st_mode & 0o777 == 0o600
    words = log.read_text()
    assert "started" in words
    assert "ended" in words


@pytest.mark.parametrize("tool", ["list", "get_performance"])
def test_a_client_that_only_looks_is_told_that_no_team_runs_and_starts_no_process(
    start_entry: StartEntry, short_tmp: Path, tool: str
) -> None:
    entry = start_entry()
    entry.initialize()
    entry.ask("tools/list")

    result = entry.call(tool)

    assert result["isError"]
    assert result["content"][0]["text"] == f"No team runs in {short_tmp / 'home'}. The first spawn starts one."
    assert psutil.Process(entry.process.pid).children() == []
    entry.end_input()
    assert entry.exit_code(PROMPTLY_S) == 0
    assert not (short_tmp / "home" / "logs" / "up.log").exists()


def test_an_entry_inside_a_team_brings_up_no_other(start_entry: StartEntry, short_tmp: Path) -> None:
    entry = start_entry(PHALANX_TEAM="t1")
    entry.initialize()
    result = entry.call("list")
    assert result["isError"]
    assert "instance of a team itself" in result["content"][0]["text"]
    assert not (short_tmp / "home" / "logs" / "up.log").exists()


def test_a_home_that_cannot_be_is_told_by_the_tools_and_not_by_silence(start_entry: StartEntry) -> None:
    entry = start_entry(PHALANX_HOME="/tmp/" + "x" * 100)
    entry.initialize()
    assert entry.ask("tools/list")["tools"]
    result = entry.call("git_batch", operations=[])
    assert result["isError"]
    assert "too long for Unix sockets" in result["content"][0]["text"]
