from __future__ import annotations

from pathlib import Path

from supervisor.runtime.ray_head import last_lines


def test_the_last_lines_of_a_log_are_few_and_there_may_be_none(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(str(number) for number in range(100)))

    assert last_lines(log, 2) == "98\n99"
    assert last_lines(tmp_path / "none") == ""
