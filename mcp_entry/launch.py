"""The entry points of ``phalanx`` and ``phalanx-mcp``: what must hold before anything else is imported.

To import the rest takes a tenth of a second or more. Ctrl-C in that time ends the process with 130 and without a
traceback, so this module imports almost nothing itself. A short command imports the rest only where no command server
runs it.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import warnings
from importlib import import_module

STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""


def phalanx() -> None:
    """The command line."""
    ends_by_ctrl_c = _guard()
    command_call = import_module("mcp_entry.cli.command_call")
    if (status := command_call.run(sys.argv)) is not None:
        sys.exit(status)
    try:
        _run("mcp_entry.cli.app", ends_by_ctrl_c=ends_by_ctrl_c)
    except SystemExit as end:
        if not end.code:
            command_call.start(sys.argv)
        raise


def phalanx_mcp() -> None:
    """The MCP server of a lead."""
    _run("mcp_entry.__main__", ends_by_ctrl_c=_guard())


def _guard() -> bool:
    """From now on Ctrl-C ends this process at once, unless it is in a shell's background. Returns whether."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    signal.signal(signal.SIGINT, _stop)
    # The interpreter resets handlers while it ends, and would then die of a signal after all was done.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    return True


def _run(module: str, *, ends_by_ctrl_c: bool) -> None:
    """Calls ``main`` of the module."""
    if fault := import_module("mcp_entry.own_packages").fault():
        sys.exit(f"Phalanx cannot start: {fault}")
    main = import_module(module).main
    if not ends_by_ctrl_c:
        main()
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            main()
        finally:
            signal.signal(signal.SIGINT, _stop)
    except KeyboardInterrupt:
        say_nothing_more()
        sys.exit(STOPPED)


def say_nothing_more() -> None:
    """Ctrl-C has cut off what was going on: an event loop that is half made, and work that nobody will await, are taken
    apart without a word."""
    sys.unraisablehook = lambda _what: None
    warnings.simplefilter("ignore")


def _stop(_number: int, _frame: object) -> None:
    # Nothing has begun, or nothing is left to do but to end. An exception would pass through imports, which may turn it
    # into another, or through the interpreter's end, which prints it.
    os._exit(STOPPED)
