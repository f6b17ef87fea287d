"""What is counted and timed; the names stand in stored records and must not change their meaning."""

from __future__ import annotations

from enum import StrEnum


class Count(StrEnum):
    SPAWNS_FAILED = "spawns_failed"
    SPAWNS_FROM_POOL = "spawns_from_pool"
    AGENTS_FAILED = "agents_failed"
    """Agents that ended without having been asked to."""
    MESSAGES_ACCEPTED = "messages_accepted"
    MESSAGES_FAILED = "messages_failed"
    MESSAGES_UNCONFIRMED = "messages_unconfirmed"
    PASTES = "pastes"
    MESSAGES_PASTED = "messages_pasted"
    """Messages in those pastes."""
    GIT_ANSWERED = "git_answered"
    """Git operations that callers asked for, also those that were refused or answered from the cache."""
    GIT_FAILED = "git_failed"
    GIT_RETRIES = "git_retries"
    """Git operations that met another one's lock and were tried again."""
    CACHE_HITS = "cache_hits"
    CACHE_MISSES = "cache_misses"
    CACHE_EVICTIONS = "cache_evictions"
    """Answers that left the cache because it was full."""


class Timing(StrEnum):
    SPAWN = "spawn"
    """From the permit to the proof of the first message, of those that succeeded."""
    SPAWN_WAIT = "spawn_wait"
    """For the permit."""
    MESSAGE = "message"
    """From accepted to submitted."""
    GIT = "git"
    """One git operation that was carried out, without waiting for its turn."""
    GIT_WAIT = "git_wait"
    STORE = "store"
    """One write of the state."""
    CALL = "call"
    """One call of a verb that does not wait for agents."""
