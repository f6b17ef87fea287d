"""How many instances a host has room for."""

from __future__ import annotations

SLOT_BYTES = 512 << 20
"""An idle Claude Code with its actor takes 180 MB. At work, with the programs that it runs, it needs more."""
RESERVED_BYTES = 1 << 30
"""For the system, Ray and the supervisor."""


def slots_for(memory_bytes: int) -> int:
    """By the host's memory, at least one."""
    return max(1, (memory_bytes - RESERVED_BYTES) // SLOT_BYTES)
