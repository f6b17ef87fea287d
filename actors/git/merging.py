"""Merges a branch into the one that is checked out. A conflict is found before anything is touched.

Promises: a merge that conflicts is told with its files, and neither the working tree, the index nor a ref has changed;
one that git begins and does not finish (a hook refuses, the machine is full) is taken back.
"""

from __future__ import annotations

from typing import Any

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.running import Hand, refusal
from actors.workspace.changes import some_of

_CONFLICTS = 1


class MergeConflictError(WorkspaceError):
    """Both sides changed the same."""

    def __init__(self, text: str, files: list[str]) -> None:
        super().__init__(text)
        self.files = files


def predict(hand: Hand, branch: str) -> dict[str, Any]:
    """What a merge of ``branch`` would do; nothing is changed."""
    theirs = _commit(hand, branch)
    ours = hand.head().commit
    if ours is None:
        raise InvalidRequestError("There is no commit yet to merge into: make a first commit.")
    answer = hand.ask("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    if not answer.ok and answer.status != _CONFLICTS:
        if "usage:" in answer.error:
            raise WorkspaceError("Merging needs git 2.38 or newer, which can tell conflicts beforehand: update git.")
        raise refusal(answer)
    conflicts = [] if answer.ok else list(dict.fromkeys(answer.output.split("\0")[1:-1]))
    base = hand.ask("merge-base", "--is-ancestor", theirs, ours)
    return {
        "branch": branch,
        "commit": theirs,
        "conflicts": conflicts,
        "clean": answer.ok,
        "alreadyMerged": base.ok,
    }


def merge(hand: Hand, branch: str, message: str | None) -> dict[str, Any]:
    """Raises ``MergeConflictError``, or ``WorkspaceError`` in git's words; then all is as it was."""
    top = hand.top
    foreseen = predict(hand, branch)
    if foreseen["conflicts"]:
        files = foreseen["conflicts"]
        raise MergeConflictError(
            f"{branch} conflicts in {len(files)} file(s): {some_of(tuple(files))}; nothing was touched. Let the member "
            "that knows the work merge the other way round and resolve them, then merge again.",
            files,
        )
    before = hand.head()
    words = message or f"Merge branch '{branch}'{f' into {before.branch}' if before.branch else ''}"
    answer = hand.act(top, "merge", "--quiet", "--no-edit", "--no-overwrite-ignore", "-m", words, foreseen["commit"])
    if not answer.ok:
        _take_back(hand)
        raise refusal(answer)
    after = hand.head().commit
    return {
        "branch": branch,
        "commit": after,
        "alreadyMerged": after == before.commit,
        "fastForward": after == foreseen["commit"] and after != before.commit,
    }


def _commit(hand: Hand, branch: str) -> str:
    """Of a local branch, else of whatever else is called so."""
    commit = hand.commit_of(f"refs/heads/{branch}") or hand.commit_of(branch)
    if commit is None:
        raise InvalidRequestError(f"There is no branch {branch!r} to merge: correct the name (type branch lists them).")
    return commit


def _take_back(hand: Hand) -> None:
    """A merge that git refused at once has left nothing to take back."""
    if (hand.place.git_directory / "MERGE_HEAD").exists():
        answer = hand.act(hand.top, "merge", "--abort")
        if not answer.ok:
            raise WorkspaceError(
                f"The merge failed, and git could not take it back: {answer.last_words}. Look into {hand.top} before "
                "you do anything else there."
            )
