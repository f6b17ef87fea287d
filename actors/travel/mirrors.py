"""Bare mirrors of repositories on a host that does not have them, one a repository, below one directory.

Worktrees of the host's instances are made from them. A mirror only ever gains: what was carried here once is not
carried again. Every method blocks; calls on one mirror may run at the same time.
"""

from __future__ import annotations

import re
from pathlib import Path

from actors.errors import InvalidRequestError, WorkspaceError
from actors.travel.unpacking import unpack
from actors.travel.values import Origin
from actors.workspace.branches import find_branch
from actors.workspace.command import GitRunner
from actors.workspace.source import Source

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_ORIGIN_REFS = "refs/phalanx/origin/"
_EARLIER_REFS = "refs/phalanx/earlier/"
_MOST_TIPS = 500
_TIPS = ("for-each-ref", "--sort=-committerdate", f"--count={_MOST_TIPS}", "--format=%(objectname)")


class Mirrors:
    def __init__(self, root: Path, git: GitRunner) -> None:
        self._root = root
        self._git = git

    def tips(self, origin: Origin) -> tuple[str, ...]:
        """Commits that the mirror has, newest first; it is made if it is not there. Raises ``WorkspaceError``."""
        mirror = self._made(origin)
        answer = self._git.run_in_repository(mirror, *_TIPS)
        if not answer.ok:
            raise WorkspaceError(f"The mirror {mirror} cannot be read: {answer.last_words}. Remove it, then try again.")
        tips = dict.fromkeys(answer.output.split())
        return origin.commits if all(self._has(mirror, commit) for commit in origin.commits) else tuple(tips)

    def take_in(self, origin: Origin, parcel: Path | None) -> Source:
        """Takes what the parcel holds in and gives what a worktree of ``origin`` is made from.

        Raises ``WorkspaceError`` when the mirror then still lacks something.
        """
        mirror = self._made(origin)
        if parcel is not None:
            unpack(self._git, mirror, parcel, origin.commits)
        # Held by the repository's own branch there, so that it is known to be here also when no instance needs it.
        for commit in origin.commits:
            kept = self._git.run_in_repository(mirror, "update-ref", f"{_ORIGIN_REFS}{commit}", commit)
            if not kept.ok:
                raise WorkspaceError(f"The mirror {mirror} did not get {commit}: {kept.last_words}. Try again.")
        self._put_aside(mirror, origin.branch)
        return Source(
            top=mirror,
            git_directory=mirror,
            prefix=origin.prefix,
            bare=True,
            branch=origin.branch,
            commit=origin.commit,
        )

    def _put_aside(self, mirror: Path, branch: str) -> None:
        """A branch of this name is from an earlier stay of the instance on this host; what is in it is kept."""
        earlier = find_branch(self._git, mirror, branch)
        if earlier is not None and not earlier.checked_out_in:
            steps = f"update {_EARLIER_REFS}{earlier.target} {earlier.target}\ndelete {earlier.name} {earlier.target}\n"
            self._git.run_in_repository(mirror, "update-ref", "--stdin", stdin=steps.encode())

    def _has(self, mirror: Path, commit: str) -> bool:
        return self._git.run_in_repository(mirror, "rev-parse", "--verify", "--quiet", _ORIGIN_REFS + commit).ok

    def _made(self, origin: Origin) -> Path:
        if _KEY.fullmatch(origin.key) is None:
            raise InvalidRequestError(f"{origin.key!r} cannot name a mirror.")
        mirror = self._root / f"{origin.key}.git"
        if not (mirror / "HEAD").exists():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = self._git.run(
                self._root, "init", "--bare", "--quiet", "--initial-branch=phalanx-mirror", str(mirror)
            )
            if not made.ok:
                raise WorkspaceError(f"A mirror could not be made in {self._root}: {made.last_words}")
        for name, value in origin.author.items():
            self._git.run_in_repository(mirror, "config", "--local", name, value)
        return mirror
