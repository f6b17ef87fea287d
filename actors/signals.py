"""What a process that we start inherits of our signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_signal_blocked() -> Iterator[None]:
    """What is started inside inherits an empty signal mask. Only this thread's mask changes."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
