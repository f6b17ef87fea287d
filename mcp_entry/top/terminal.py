"""The terminal that ``phalanx top`` runs in: it ends with it, and lends it to ``tmux attach``.

When a terminal is gone (its window was closed, its tmux server ended, ssh was cut), nothing can be drawn or put back,
reading it gives an end of file at once, again and again, and writing to it may block for ever. So a thread waits for
the hang-up and ends the process there and then: all that it holds are connections, which end with it.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from textual.drivers.linux_driver import LinuxDriver

HUNG_UP = 129
"""The exit status, as of a program that SIGHUP ends."""
_END_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WayInto:
    """The program that goes into an instance's terminal."""

    command: Sequence[str]
    environment: Mapping[str, str]


class TerminalDriver(LinuxDriver):
    """Textual's driver, which also comes back from a stop that it was not told of before, as by ``kill -STOP``.

    A shell, or a person, has used the terminal meanwhile. Textual's own would begin a second time without an end, so
    two threads would read the keys, and the terminal would never be put back.
    """

    def _sigcont_application(self, *signal_arguments: object) -> None:
        if self._auto_restart and not self._must_signal_resume:
            self.suspend_application_mode()
            self._must_signal_resume = True
        super()._sigcont_application(*signal_arguments)


def end_with_terminal(descriptor: int) -> None:
    """Ends this process when the terminal of this descriptor hangs up. Costs nothing until then."""
    threading.Thread(target=_await_hang_up, args=(descriptor,), name="terminal", daemon=True).start()


def _await_hang_up(descriptor: int) -> None:
    watched = select.poll()
    watched.register(descriptor, 0)  # no events: a hang-up is told in any case, and input is none of ours
    while not any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in watched.poll()):
        pass
    os._exit(HUNG_UP)


def on_end_signals(end: Callable[[], None]) -> None:
    """Calls ``end`` in the running event loop when this process is asked to end, so that the terminal is put back."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)


async def lent_to(way: WayInto) -> int:
    """Runs a program in this terminal to its end and returns its exit status. Cancelled, it ends the program.

    Raises ``OSError`` when it cannot be started. It lasts as long as a person stays in it.
    """
    program = await asyncio.create_subprocess_exec(*way.command, env=dict(way.environment))
    try:
        return await program.wait()
    finally:
        if program.returncode is None:
            with suppress(ProcessLookupError):
                program.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await program.wait()
