"""Running ``supervisor.boot`` and reading its answer."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from actors.errors import UnavailableError
from actors.home import Home
from supervisor.runtime.detached import start_detached

LOG_NAME = "boot.log"
_LOOK_EVERY_S = 0.1
_ENDED_S = 1.0
_END_GRACE_S = 2.0
_MODULE = "supervisor.boot"


class SupervisorLostError(UnavailableError):
    """Nothing came of the supervisor's start: Ray or the boot program ended or hung. Another try may do better."""


class BootKilledError(SupervisorLostError):
    """Somebody killed the boot program: Ray is not to blame."""


class Boot:
    """One run of the boot program. ``answer`` may be asked for once."""

    def __init__(self, process: subprocess.Popen[bytes], report: int) -> None:
        """``report``: the descriptor on which the answer comes."""
        self._process = process
        self._report = report

    def answer(self, timeout_s: float, check: Callable[[], None]) -> Mapping[str, Any]:
        """The fields of a good answer. ``check`` is called now and then and raises when waiting is in vain.

        Raises ``UnavailableError`` with the reason that the supervisor gave, ``SupervisorLostError`` when it gave none.
        """
        text = self._read(time.monotonic() + timeout_s, check)
        if not text.endswith(b"\n"):
            raise self._no_answer()
        answer: Mapping[str, Any] = json.loads(text)
        if answer["ok"]:
            return answer
        raise SupervisorLostError(answer["message"]) if answer.get("lost") else UnavailableError(answer["message"])

    def _no_answer(self) -> SupervisorLostError:
        try:
            code = self._process.wait(_ENDED_S)
        except subprocess.TimeoutExpired:
            return SupervisorLostError("the program that starts it in Ray hung")
        if code < 0:
            return BootKilledError(f"the program that starts it in Ray was ended by signal {-code}")
        return SupervisorLostError(f"the program that starts it in Ray ended with exit status {code}")

    def _read(self, deadline: float, check: Callable[[], None]) -> bytes:
        text = b""
        while not text.endswith(b"\n") and time.monotonic() < deadline:
            ready, _, _ = select.select([self._report], [], [], _LOOK_EVERY_S)
            if not ready:
                check()
                continue
            part = os.read(self._report, 65_536)
            if not part:
                break
            text += part
        return text


@contextmanager
def boot(
    home: Home, environment: Mapping[str, str], factory: str, timeout_s: float, cluster: str = ""
) -> Iterator[Boot]:
    """Starts the program, which connects to ``cluster`` or else to the home's own Ray.

    After the block it is given a moment to end by itself, after a failed one none.
    """
    report, for_program = os.pipe()
    try:
        command = (
            *(sys.executable, "-P", "-m", _MODULE, "--home", str(home.root), "--report-fd", str(for_program)),
            *("--timeout", str(timeout_s), "--factory", factory, "--cluster", cluster),
        )
        process = start_detached(command, environment, home.logs / LOG_NAME, inherited=[for_program])
    finally:
        os.close(for_program)
    try:
        yield Boot(process, report)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_GRACE_S)
    finally:
        os.close(report)
        process.kill()
