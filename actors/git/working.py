"""The operations that change a working tree: checkout and commit. None of them loses work.

git itself refuses a checkout that would overwrite changes; here also one that would overwrite ignored files. A commit
that is refused (by a hook, for want of a name) leaves the index as it was.
"""

from __future__ import annotations

from typing import Any

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.index import IndexCopy
from actors.git.running import Hand, refusal
from actors.git.values import Checkout, Commit


def checkout(hand: Hand, operation: Checkout) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words; then nothing has changed."""
    start = hand.commit_of(operation.start) if operation.start else None
    if operation.start and start is None:
        raise InvalidRequestError(f"There is no commit {operation.start!r} to start from: correct it.")
    new = ("--create", operation.branch, *([start] if start else [])) if operation.create else (operation.branch,)
    hand.done(hand.top, "switch", "--quiet", "--no-guess", "--no-overwrite-ignore", *new)
    return {"branch": operation.branch, "commit": hand.head().commit, "created": operation.create}


def commit(hand: Hand, operation: Commit) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words, ``InvalidRequestError`` when there is nothing to commit."""
    copy = IndexCopy(hand) if operation.files or operation.everything else None
    if copy is not None:
        _stage(hand, operation, copy)
    only = ("--only", "--", *operation.files) if operation.files else ()
    answer = hand.act(
        hand.directory, "commit", "--quiet", "--file=-", *only, stdin=operation.message.encode(errors="replace")
    )
    if not answer.ok:
        if copy is not None:
            copy.put_back()
        raise _refused(hand, answer.error.strip() or answer.output.strip()) or refusal(answer)
    head = hand.head()
    return {"commit": head.commit, "branch": head.branch}


def _stage(hand: Hand, operation: Commit, copy: IndexCopy) -> None:
    where, what = (hand.directory, ("--", *operation.files)) if operation.files else (hand.top, ("--all",))
    answer = hand.act(where, "add", *what)
    copy.staged()
    if not answer.ok:
        copy.put_back()
        raise refusal(answer)
    if copy.had_conflicts():
        copy.put_back()
        raise WorkspaceError(
            "Files are in conflict; to stage them would commit the conflict's marks. Resolve them, stage them with "
            "`git add`, then commit what is staged."
        )


def _refused(hand: Hand, words: str) -> InvalidRequestError | None:
    nothing = not words or "nothing to commit" in words or "nothing added to commit" in words or "no changes" in words
    if nothing and hand.ask("diff", "--cached", "--quiet").ok:
        return InvalidRequestError(
            "There is nothing to commit: nothing is staged. Give files, or all true for every change."
        )
    return None
