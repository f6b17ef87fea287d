"""Reads ``git log``; the logs of several commits of a repository by one git.

git tells the commits of all of them together in an order of its own. Where each commit has one parent at most, the log
of a commit is it, its parent, the parent of that and so on: such logs are picked out of what was told. Of any other git
is to be asked by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from actors.git.running import Hand
from actors.git.values import ReadLog
from actors.workspace.command import Answer

_FIELDS = {"commit": "%H", "parents": "%P", "author": "%an", "email": "%ae", "date": "%aI", "subject": "%s"}


def tell_log(hand: Hand, read: ReadLog) -> dict[str, Any]:
    """Raises ``GitRefusedError``."""
    answer = _ask(hand, [read.revision or "HEAD"], read.limit, read.files)
    if not answer.ok and read.revision is None and hand.commit_of("HEAD") is None:
        return {"commits": []}
    return {"commits": _commits(hand.output_of(answer))}


def tell_logs(hand: Hand, commits: Collection[str], limit: int) -> dict[str, dict[str, Any]]:
    """Of the commits, named by their hashes; those are left out of which git is to be asked by itself."""
    answer = _ask(hand, commits, limit * len(commits))
    told = {each["commit"]: each for each in _commits(answer.output)} if answer.ok else {}
    found = {commit: _log_of(commit, told, limit) for commit in commits}
    return {commit: {"commits": log} for commit, log in found.items() if log is not None}


def _log_of(commit: str, told: Mapping[str, dict[str, Any]], limit: int) -> list[dict[str, Any]] | None:
    log: list[dict[str, Any]] = []
    following = [commit]
    while following and len(log) < limit:
        here = told.get(following[0])
        if here is None or len(following) > 1:
            return None
        log.append(here)
        following = here["parents"]
    return log


def _ask(hand: Hand, revisions: Collection[str], limit: int, files: Collection[str] = ()) -> Answer:
    return hand.ask(
        *(
            "-c",
            "log.follow=false",
            "log",
            "-z",
            f"--max-count={limit}",
            "--no-color",
            "--no-show-signature",
            "--no-decorate",
        ),
        f"--format=tformat:{'%x00'.join(_FIELDS.values())}",
        *("--end-of-options", *revisions, "--", *files),
    )


def _commits(told: str) -> list[dict[str, Any]]:
    values = iter(told.split("\0")[:-1])
    rows = zip(*([values] * len(_FIELDS)), strict=True)
    return [{**dict(zip(_FIELDS, row, strict=True)), "parents": row[1].split()} for row in rows]
