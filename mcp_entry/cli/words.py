"""What a person has typed for an argument of a verb: an option or a place on the command line.

``session`` tells faults with it. An argument that is not here is one that a person has given by its own name (the
operations of ``phalanx git``).
"""

from __future__ import annotations

from collections.abc import Mapping

_EVERYWHERE: Mapping[str, str] = {
    "agent": "--agent",
    "cacheSize": "--cache-size",
    "cacheTTL": "--cache-ttl",
    "context": "the text",
    "cursor": "--cursor",
    "env": "--env",
    "full": "--full",
    "host": "--host",
    "instanceId": "ID",
    "instanceIds": "ID",
    "labels": "--label",
    "lines": "--lines",
    "maxConcurrentGitOps": "--git-ops",
    "maxConcurrentSpawns": "--spawns",
    "message": "the text",
    "messageBatchDelay": "--batch-delay",
    "messageBatchSize": "--batch-size",
    "model": "--model",
    "name": "--name",
    "parentId": "--parent",
    "permissionId": "--permission",
    "prewarmInstances": "--prewarm",
    "timeoutSeconds": "--timeout",
    "windowSeconds": "--window",
    "workDir": "--dir",
    "worktreePoolSize": "--worktrees",
    "worktrees": "--worktrees",
}
_OF_ONE_VERB: Mapping[str, Mapping[str, str]] = {
    "drain": {"host": "HOST"},
    "git_batch": {},
    "prewarm_resources": {**_EVERYWHERE, "instances": "INSTANCES"},
    "respond": {**_EVERYWHERE, "message": "--message"},
}


def typed_words(verb: str) -> Mapping[str, str]:
    """By the names of the verb's arguments."""
    return _OF_ONE_VERB.get(verb, _EVERYWHERE)
