"""The operations that only look. Each gives its result and the paths that git ignores, as far as it told them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.errors import InvalidRequestError
from actors.git import status
from actors.git.logs import tell_log
from actors.git.merging import predict
from actors.git.running import Hand
from actors.git.values import ListRefs, ListWorktrees, PredictMerge, Read, ReadDiff, ReadLog, ReadStatus
from actors.git.watching import under_way

MOST_PATCH_CHARACTERS = 100_000
_MOST_DIFF_BYTES = 4_000_000
"""Of numbers and patch together: the process that reads them serves all agents of its host."""
_REF_FIELDS = ("refname:lstrip=2", "objectname", "*objectname", "upstream:short", "worktreepath", "contents:subject")
_NONE_IGNORED: frozenset[str] = frozenset()


def answer(hand: Hand, read: Read) -> tuple[dict[str, Any], frozenset[str]]:
    """Raises ``WorkspaceError`` or ``InvalidRequestError``."""
    match read:
        case ReadStatus():
            return _status(hand)
        case ListRefs():
            return listed(hand, read, list_refs(hand, read)), _NONE_IGNORED
        case ReadLog():
            return tell_log(hand, read), _NONE_IGNORED
        case ReadDiff():
            return _diff(hand, read), _NONE_IGNORED
        case ListWorktrees():
            return _list_worktrees(hand), _NONE_IGNORED
        case PredictMerge():
            return predict(hand, read.branch), _NONE_IGNORED


def _status(hand: Hand) -> tuple[dict[str, Any], frozenset[str]]:
    told = hand.output_of(hand.git.run(hand.top, *status.COMMAND))
    result, ignored = status.read_porcelain(told)
    return {**result, "underWay": under_way(hand.place)}, ignored


def list_refs(hand: Hand, read: ListRefs) -> list[dict[str, str]]:
    """All branches or tags: the same in every working tree."""
    place = "refs/heads" if read.kind == "branch" else "refs/tags"
    told = hand.told("for-each-ref", "--format=" + "".join(f"%({field})%00" for field in _REF_FIELDS), "--", place)
    # git ends each with a newline, which then stands before the next one's name.
    rows = _rows(told.removesuffix("\n"), len(_REF_FIELDS))
    return [
        {"name": name.removeprefix("\n"), "commit": peeled or commit, "subject": subject, **_of_branch(upstream, tree)}
        for name, commit, peeled, upstream, tree, subject in rows
    ]


def listed(hand: Hand, read: ListRefs, found: list[dict[str, str]]) -> dict[str, Any]:
    """What ``list_refs`` found, as it is told in one working tree."""
    if read.kind == "tag":
        return {"tags": found}
    current = hand.branch()
    return {"current": current if any(each["name"] == current for each in found) else None, "branches": found}


def _of_branch(upstream: str, tree: str) -> dict[str, str]:
    return {name: value for name, value in (("upstream", upstream), ("worktree", tree)) if value}


def _diff(hand: Hand, read: ReadDiff) -> dict[str, Any]:
    """Numbers of each file, and the patch, which is cut where it is too long."""
    if hand.place.top is None and not (read.base and read.head):
        raise InvalidRequestError("A bare repository has no files: give the diff a base and a head.")
    against = [revision for revision in (read.base, read.head) if revision is not None]
    answer = hand.ask(
        *("diff", "-z", "--numstat", "--patch", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
        *("--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--submodule=short"),
        *(["--cached"] if read.staged else []),
        *("--end-of-options", *against, "--", *read.files),
        most_bytes=_MOST_DIFF_BYTES,
    )
    numbers, patched, patch = hand.output_of(answer).partition("\0\0")
    entries = numbers.split("\0")
    if answer.is_cut and not patched:
        entries.pop()  # it ends anywhere
    return {
        "files": [_numbered(entry) for entry in entries if entry],
        "patch": patch[:MOST_PATCH_CHARACTERS],
        "truncated": answer.is_cut or len(patch) > MOST_PATCH_CHARACTERS,
    }


def _numbered(entry: str) -> dict[str, Any]:
    """``added TAB deleted TAB path``, with dashes for a binary file."""
    added, deleted, path = entry.split("\t", 2)
    if added == "-":
        return {"path": path, "binary": True}
    return {"path": path, "added": int(added), "deleted": int(deleted)}


def _list_worktrees(hand: Hand) -> dict[str, Any]:
    told = hand.told("worktree", "list", "--porcelain", "-z")
    blocks = (block.split("\0") for block in told.split("\0\0") if block)
    return {"worktrees": [_worktree(lines) for lines in blocks]}


def _worktree(lines: list[str]) -> dict[str, Any]:
    about = {name: value for name, _, value in (line.partition(" ") for line in lines)}
    branch = about.get("branch", "").removeprefix("refs/heads/")
    return {"path": about["worktree"], "commit": about.get("HEAD"), "branch": branch or None, "bare": "bare" in about}


def _rows(told: str, width: int) -> Iterator[tuple[str, ...]]:
    """Fields that each end in a zero byte, ``width`` to a row."""
    fields = iter(told.split("\0")[:-1])
    return zip(*([fields] * width), strict=True)
