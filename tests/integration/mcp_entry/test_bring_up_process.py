"""The process by which an entry brings a team up, with programs that only end in different ways."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.errors import TeamNotRunningError
from actors.home import Home
from mcp_entry.connection import BringUpProcess, ignore_steps


@dataclass(frozen=True, kw_only=True)
class Scripted(BringUpProcess):
    """Each try runs the next of the scripts."""

    scripts: list[str] = field(default_factory=list)

    def _start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(["sh", "-c", self.scripts.pop(0)], stdout=output, stderr=output)


def scripted(directory: Path, *scripts: str) -> Scripted:
    return Scripted(home=Home(directory / "h"), environment=os.environ, scripts=list(scripts))


async def test_its_steps_are_told_while_it_goes_on(short_tmp: Path) -> None:
    told: list[str] = []
    script = "echo '- 18:20:25 starting Ray'; while [ ! -e told ]; do sleep 0.01; done; echo '- 18:20:26 the end'"

    def on_step(step: str) -> None:
        told.append(step)
        (short_tmp / "told").touch()

    await scripted(short_tmp, f"cd {short_tmp}; {script}")(on_step)

    assert told[0] == "starting Ray"


async def test_one_that_is_killed_is_begun_again_at_once(short_tmp: Path) -> None:
    bring_up = scripted(short_tmp, "kill -9 $$", "kill -9 $$", "exit 0", "exit 1")

    await bring_up(ignore_steps)

    assert bring_up.scripts == ["exit 1"]


@pytest.mark.parametrize(
    ("scripts", "words"),
    [
        (
            ("echo '- 18:20 Ray'; echo tmux is missing; exit 1",),
            r"brought up\. tmux is missing\nThe log is",
        ),
        (("echo '- 18:20:25 starting Ray'; exit 3",), r"The process that brings it up ended with exit status 3\."),
        (("kill -9 $$",) * 3, r"The process that brings it up was ended by signal 9\."),
        (("kill -15 $$",), r"The process that brings it up was ended by signal 15\."),
    ],
)
async def test_why_it_failed_is_told_in_words_with_the_log_and_what_to_do(
    short_tmp: Path, scripts: tuple[str, ...], words: str
) -> None:
    bring_up = scripted(short_tmp, *scripts)

    with pytest.raises(TeamNotRunningError, match=words) as refused:
        await bring_up(ignore_steps)

    assert "up.log. `phalanx doctor` says what this machine lacks. The next call tries again." in str(refused.value)
    assert not bring_up.scripts
