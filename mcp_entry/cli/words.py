"""What a person has typed for an argument of a verb: an option or a place on the command line.

``session`` tells faults with it, and what the team refuses, which it says in the words of the tools. An argument that
is not here is one that a person has given by its own name (the operations of ``phalanx git``).
"""

from __future__ import annotations

import re
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


_PHRASES = (
    (re.compile(r"\bCall list to see (the team|who does)\b"), r"`phalanx list` shows \1"),
    (re.compile(r"\bCall list and look at it first\b"), "Look at it with `phalanx list` first"),
)
_ARGUMENTS = re.compile(
    rf"(?<![\w/.'\"-])({'|'.join(name for name in _EVERYWHERE if name != name.lower())})(?![\w/'\"-])"
)
"""Names that are no words of any language, where they stand free: a path or a quoted text may hold them as well."""


def spoken(refusal: str) -> str:
    """What the team says to leads, in the words of the command line."""
    for pattern, said in _PHRASES:
        refusal = pattern.sub(said, refusal)
    return _ARGUMENTS.sub(lambda found: _EVERYWHERE[found[1]], refusal)


def typed_words(verb: str) -> Mapping[str, str]:
    """By the names of the verb's arguments."""
    return _OF_ONE_VERB.get(verb, _EVERYWHERE)
