"""Whether a program reads the keys of its terminal, as the kernel knows it. Used by ``Pane``. Standard library only.

A program in a pane has no shell above it. The kernel does not stop such a one on Ctrl-Z, and tmux lets go on what was
stopped otherwise. But a program that suspends itself gives its terminal back and waits for SIGCONT: meanwhile keys are
echoed, gathered into lines, and read by nobody.
"""

from __future__ import annotations

import os
import termios
from contextlib import suppress

_LOCAL_MODES = 3


def is_stopped(terminal: str) -> bool:
    """Whether the terminal gathers lines; False where that cannot be told."""
    with suppress(OSError, termios.error):
        descriptor = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            return bool(termios.tcgetattr(descriptor)[_LOCAL_MODES] & termios.ICANON)
        finally:
            os.close(descriptor)
    return False
