from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.host.load import LoadMeter

TICKS = os.sysconf("SC_CLK_TCK")
GB = 1 << 30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    made = tmp_path / "proc"
    (made / "self").mkdir(parents=True)
    (made / "loadavg").write_text("1.50 1.00 0.50 2/300 4711\n")
    columns = (300, 0, 100, 500, 100, 0, 0, 0, 200, 0)
    (made / "stat").write_text("cpu  " + " ".join(str(each * TICKS) for each in columns) + "\ncpu0 1 2 3\n")
    (made / "meminfo").write_text(f"MemTotal: {8 * GB // 1024} kB\nMemAvailable: {6 * GB // 1024} kB\nHugePages: 0\n")
    (made / "self/cgroup").write_text("0::/team\n")
    return made


def test_a_reading_tells_the_load_the_time_that_cores_were_busy_and_free_memory(proc: Path, tmp_path: Path) -> None:
    load = LoadMeter(tmp_path, proc, tmp_path / "none").read()
    assert load.load_1m == 1.5
    assert (load.cpu_busy_s, load.cpu_total_s) == (400, 1000)
    assert (load.memory_total_bytes, load.memory_available_bytes) == (8 * GB, 6 * GB)
    assert load.cpus >= 1
    assert load.disk_available_bytes > 0


def limited(tmp_path: Path, limit: str) -> Path:
    group = tmp_path / "groups/team"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(limit + "\n")
    (group / "memory.current").write_text(f"{2 * GB}\n")
    (group / "memory.stat").write_text(f"anon {GB}\ninactive_file {GB}\n")
    return tmp_path / "groups"


def test_a_limit_of_our_own_counts_when_it_leaves_less(proc: Path, tmp_path: Path) -> None:
    load = LoadMeter(tmp_path, proc, limited(tmp_path, str(4 * GB))).read()
    assert (load.memory_total_bytes, load.memory_available_bytes) == (4 * GB, 3 * GB)


@pytest.mark.parametrize("limit", ["max", str(64 * GB)])
def test_a_limit_beyond_the_machine_counts_for_nothing(proc: Path, tmp_path: Path, limit: str) -> None:
    load = LoadMeter(tmp_path, proc, limited(tmp_path, limit)).read()
    assert (load.memory_total_bytes, load.memory_available_bytes) == (8 * GB, 6 * GB)


def test_this_machine_can_be_read(tmp_path: Path) -> None:
    load = LoadMeter(tmp_path).read()
    assert 0 < load.memory_available_bytes <= load.memory_total_bytes
    assert 0 < load.cpu_busy_s < load.cpu_total_s
