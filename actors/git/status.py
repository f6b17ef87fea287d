"""Reads ``git status``: pure, so that it is tested without git."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MOST_PATHS = 500
"""Of each kind in a result; the numbers count all."""
COMMAND = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignored=matching")


def read_porcelain(output: str) -> tuple[dict[str, Any], frozenset[str]]:
    """The result, and the paths that git ignores."""
    head: dict[str, str] = {}
    paths: dict[str, list[str]] = {"staged": [], "unstaged": [], "untracked": [], "conflicted": []}
    ignored = []
    entries = iter(output.split("\0")[:-1])
    for entry in entries:
        match entry[:1]:
            case "#":
                name, _, value = entry[2:].partition(" ")
                head[name] = value
            case "?":
                paths["untracked"].append(entry[2:])
            case "!":
                ignored.append(entry[2:])
            case _:
                _read_change(entry, entries, paths)
    return {**_branch(head), **_shown(paths)}, frozenset(ignored)


def _read_change(entry: str, entries: Iterator[str], paths: dict[str, list[str]]) -> None:
    """``1 XY sub mH mI mW hH hI path``; ``2`` has a score before the path and the old path as an entry of its own."""
    kind, states = entry[0], entry[2:4]
    if kind == "u":
        paths["conflicted"].append(entry.split(" ", 10)[10])
        return
    path = entry.split(" ", 9 if kind == "2" else 8)[-1]
    if kind == "2":
        next(entries)
    if states[0] != ".":
        paths["staged"].append(path)
    if states[1] != ".":
        paths["unstaged"].append(path)


def _branch(head: dict[str, str]) -> dict[str, Any]:
    ahead, _, behind = head.get("branch.ab", "").partition(" ")
    name, commit = head.get("branch.head"), head.get("branch.oid")
    return {
        "branch": None if name == "(detached)" else name,
        "commit": None if commit == "(initial)" else commit,
        "upstream": head.get("branch.upstream"),
        "ahead": int(ahead) if ahead else None,
        "behind": -int(behind) if behind else None,
    }


def _shown(paths: dict[str, list[str]]) -> dict[str, Any]:
    counts = {kind: len(found) for kind, found in paths.items()}
    shown: dict[str, Sequence[str]] = {kind: found[:MOST_PATHS] for kind, found in paths.items()}
    return {"clean": not any(counts.values()), "counts": counts, **shown}
