"""The operations that change a working tree: checkout and commit. None of them loses work.

git itself refuses a checkout that would overwrite changes; here also one that would overwrite ignored files. A commit
that is refused (by a hook, for want of a name) leaves the index as it was.
"""

from __future__ import annotations

import re
import time
from typing import Any

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.index import IndexCopy
from actors.git.running import Hand, refusal
from actors.git.values import Checkout, Commit
from actors.workspace.command import Answer, pauses_s

_COMMITTED = re.compile(r"\[(?:detached HEAD|\S+)(?: \(root-commit\))? ([0-9a-f]{40,64})\] ")
"""How git tells which commit it has made. HEAD may be at one that another git has made since."""


def checkout(hand: Hand, operation: Checkout) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words; then nothing has changed, unless it says so."""
    start = hand.commit_of(operation.start) if operation.start else None
    if operation.start and start is None:
        raise InvalidRequestError(f"There is no commit {operation.start!r} to start from: correct it.")
    new = ("--create", operation.branch, *([start] if start else [])) if operation.create else (operation.branch,)
    before = hand.head().branch
    try:
        hand.done(hand.top, "switch", "--quiet", "--no-guess", "--no-overwrite-ignore", *new)
    except WorkspaceError as error:
        if before != operation.branch == hand.head().branch:
            raise WorkspaceError(f"{operation.branch} is checked out now, but a hook then failed: {error}") from error
        raise
    return {"branch": operation.branch, "commit": hand.head().commit, "created": operation.create}


def commit(hand: Hand, operation: Commit) -> dict[str, Any]:
    """Raises ``WorkspaceError`` in git's words, ``InvalidRequestError`` when there is nothing to commit."""
    before = hand.head().commit
    copy = IndexCopy(hand) if operation.files or operation.everything else None
    try:
        answer = _stage_and_commit(hand, operation, copy)
        for pause_s in pauses_s():
            if answer.ok or not _was_overtaken(answer, copy):
                break
            time.sleep(pause_s)
            answer = _stage_and_commit(hand, operation, copy)
    except (WorkspaceError, OSError) as error:
        now = hand.head().commit
        if now != before:
            raise WorkspaceError(f"{error} HEAD is at {now} now: look whether the commit is made.") from error
        if copy is not None:
            copy.put_back()
        raise
    if not answer.ok:
        if copy is not None:
            copy.put_back()
        raise _refused(hand, answer.error.strip() or answer.output.strip()) or refusal(answer)
    head = hand.head()
    named = _COMMITTED.match(answer.output)
    return {"commit": named[1] if named else head.commit, "branch": head.branch}


def _stage_and_commit(hand: Hand, operation: Commit, copy: IndexCopy | None) -> Answer:
    if copy is not None:
        _stage(hand, operation, copy)
    return _commit(hand, operation)


def _was_overtaken(answer: Answer, copy: IndexCopy | None) -> bool:
    """By another git in the same tree, so that nothing is committed: it moved the branch, or it had read the index
    before it was changed here and has written it since."""
    if "cannot lock ref 'HEAD': is at" in answer.error:
        return True
    return copy is not None and "did not match any file(s) known to git" in answer.error and not copy.is_as_staged()


def _commit(hand: Hand, operation: Commit) -> Answer:
    only = ("--only", "--", *operation.files) if operation.files else ()
    words = ("-c", "core.abbrev=no", "commit", "--file=-", "--cleanup=whitespace", *only)
    return hand.act(hand.directory, *words, stdin=operation.message.encode(errors="replace"))


def _stage(hand: Hand, operation: Commit, copy: IndexCopy) -> None:
    where, what = (hand.directory, ("--", *operation.files)) if operation.files else (hand.top, ("--all",))
    answer = hand.act(where, "add", *what)
    copy.staged()
    if not answer.ok:
        raise refusal(answer)
    if copy.had_conflicts():
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
