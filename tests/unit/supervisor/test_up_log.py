from __future__ import annotations

import pytest

from supervisor.up_log import reason_in, step_line

STEPS = "\n".join(step_line("18:20:25", what) for what in ("starting Ray", "starting the supervisor"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{STEPS}\ntmux is missing.\n\nInstall it.\n", "tmux is missing.\nInstall it."),
        (f"{STEPS}\n", ""),
        ("", ""),
        ("Another team is led from here.\n", "Another team is led from here."),
        (
            f"of an earlier one\n{STEPS}\n" + "".join(f"{number}\n" for number in range(30)),
            "\n".join(map(str, range(18, 30))),
        ),
    ],
)
def test_the_reason_is_what_follows_the_last_step(text: str, reason: str) -> None:
    assert reason_in(text) == reason
