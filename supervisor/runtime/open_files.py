"""How many files a Ray may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

_OPEN_FILES = 65_536


def allow_many_files(pid: int) -> None:
    """Every instance costs Ray some descriptors; the usual limit of 1024 is a few hundred instances.

    As far as the system permits; what ``pid`` starts from now on inherits it.
    """
    with suppress(OSError, ValueError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))
