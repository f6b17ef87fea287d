"""Writes the state of a worktree as a commit, beside the agent's index and files, and checks what was written.

Files are stored as they are, byte for byte: no filter, end-of-line rule or hook of the repository has a say. What
differs from the files but was staged is the second parent, so ``git stash apply --index`` understands the commit.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from actors.workspace.blobs import blob_of, kind_of, read_link
from actors.workspace.changes import some_of
from actors.workspace.command import GitRunner
from actors.workspace.inventory import Inventory
from actors.workspace.saved_refs import DURABLE, NO_HOOKS, add_saved, list_saved
from actors.workspace.site import KeptError, Site

_WRITE_TIMEOUT_S = 120.0
_PLAIN_INDEX = ("-c", "core.splitIndex=false", "-c", "index.sparse=false", "-c", "core.sparseCheckout=false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The trees of one moment. They are in the repository, but nothing refers to them yet."""

    commit: str
    """What HEAD is at."""
    committed: str
    staged: str
    whole: str
    """Everything that was in the worktree."""

    @property
    def adds_nothing(self) -> bool:
        return self.committed == self.staged == self.whole

    @property
    def needs_second_parent(self) -> bool:
        return self.staged not in {self.committed, self.whole}


class SnapshotMaker:
    """Makes the snapshots of one worktree. It writes below the worktree's registration, which goes with it."""

    def __init__(self, git: GitRunner, site: Site, objects: Path | None = None) -> None:
        """``objects``: an empty directory for what it writes, when nothing may come into the repository."""
        self._git = git
        self._site = site
        own = str(site.git_directory / "objects")
        self._objects = (
            {"GIT_OBJECT_DIRECTORY": str(objects), "GIT_ALTERNATE_OBJECT_DIRECTORIES": own} if objects else {}
        )

    def take(self, inventory: Inventory) -> Snapshot:
        """Raises ``KeptError`` when git cannot hold it, or somebody wrote in the meantime."""
        committed = self._ask("rev-parse", "--verify", f"{inventory.commit}^{{tree}}").strip()
        try:
            with tempfile.TemporaryDirectory(prefix="phalanx-", dir=self._site.registration) as directory:
                return self._take(inventory, committed, Path(directory))
        except OSError as error:
            raise KeptError(f"its state cannot be written down ({error.strerror})") from error

    def keep(self, snapshot: Snapshot, inventory: Inventory) -> str:
        """The ref that holds the snapshot: one that was made before, or a new one. Everything is there when it is."""
        ref = self.find(snapshot) or add_saved(
            *(self._git, self._site.git_directory, self._site.name),
            lambda ref: self._commit(snapshot, inventory, ref),
        )
        # Whatever a clean-up of the repository took away before the ref was there shows now.
        self._ask("rev-list", "--objects", "--quiet", ref, "--not", inventory.commit)
        return ref

    def find(self, snapshot: Snapshot) -> str | None:
        """The ref that holds it already."""
        parents = (snapshot.commit, *((self._commit_staged(snapshot),) if snapshot.needs_second_parent else ()))
        saves = list_saved(self._git, self._site.git_directory, self._site.name)
        return next((saved.name for saved in saves if (saved.tree, saved.parents) == (snapshot.whole, parents)), None)

    def _take(self, inventory: Inventory, committed: str, scratch: Path) -> Snapshot:
        index = scratch / "index"
        with suppress(FileNotFoundError):
            shutil.copyfile(self._site.registration / "index", index)
        environment = {"GIT_INDEX_FILE": str(index)}
        staged = self._ask("write-tree", environment=environment).strip()
        blobs = self._write_blobs(inventory, scratch)
        index.unlink(missing_ok=True)
        self._ask("read-tree", staged, environment=environment)
        absent = "0" * len(staged)
        gone = [f"0 {absent}\t{path}" for path, state in inventory.files.items() if state is None]
        there = [f"{mode} {blob}\t{path}" for path, (mode, blob) in blobs.items()]
        changes = "".join(f"{line}\0" for line in (*gone, *there))
        self._ask("update-index", "-z", "--index-info", stdin=os.fsencode(changes), environment=environment)
        whole = self._ask("write-tree", environment=environment).strip()
        self._verify(inventory, staged, whole)
        return Snapshot(commit=inventory.commit, committed=committed, staged=staged, whole=whole)

    def _write_blobs(self, inventory: Inventory, scratch: Path) -> dict[str, tuple[str, str]]:
        """Mode and hash of each file that is there."""
        there = {path: state.git_mode for path, state in inventory.files.items() if state is not None}
        sources = []
        for number, (path, mode) in enumerate(there.items()):
            source = path
            if mode == "120000":
                target = scratch / f"link-{number}"
                target.write_bytes(read_link(self._site.worktree / path))
                source = str(target)
            sources.append(_quoted(source))
        if not sources:
            return {}
        stdin = b"".join(source + b"\n" for source in sources)
        written = self._ask("hash-object", "-w", "-t", "blob", "--no-filters", "--stdin-paths", stdin=stdin).split()
        return {path: (mode, blob) for (path, mode), blob in zip(there.items(), written, strict=True)}

    def _verify(self, inventory: Inventory, staged: str, whole: str) -> None:
        """Reads the tree back and compares it with the files, without git: each by its own hash and mode."""
        kind = kind_of(whole)
        expected = self._list(staged)
        for path, state in inventory.files.items():
            expected.pop(path, None)
            if state is not None:
                expected[path] = (state.git_mode, blob_of(self._site.worktree / path, state.git_mode, kind))
        written = self._list(whole)
        refused = tuple(path for path in expected if path not in written)
        if refused:
            raise KeptError(f"git refuses the names of files in it ({some_of(refused)})")
        if expected != written:
            raise KeptError("its files are not what was saved of them a moment before: something still writes in it")

    def _list(self, tree: str) -> dict[str, tuple[str, str]]:
        entries = (entry.split("\t", 1) for entry in self._ask("ls-tree", "-r", "-z", tree).split("\0") if entry)
        return {path: (about.split(" ")[0], about.split(" ")[2]) for about, path in entries}

    def _commit(self, snapshot: Snapshot, inventory: Inventory, ref: str) -> str:
        parents = ["-p", snapshot.commit]
        if snapshot.needs_second_parent:
            parents += ["-p", self._commit_staged(snapshot)]
        message = _message(self._site, snapshot, inventory, ref)
        return self._commit_tree(snapshot.whole, parents, message, f"@{int(time.time())} +0000")

    def _commit_staged(self, snapshot: Snapshot) -> str:
        """The same for the same state, whenever it is made: by that an earlier save is recognised."""
        date = self._ask("show", "--no-patch", "--format=%ct", snapshot.commit, "--").split()[-1]
        message = f"What was staged by {self._site.name}\n"
        return self._commit_tree(snapshot.staged, ["-p", snapshot.commit], message, f"@{date} +0000")

    def _commit_tree(self, tree: str, parents: list[str], message: str, date: str) -> str:
        person = {"NAME": "Phalanx", "EMAIL": "phalanx@localhost", "DATE": date}
        environment = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
        words = ("commit-tree", "--no-gpg-sign", *parents, "-F", "-", tree)
        return self._ask(*words, stdin=message.encode(), environment=environment).strip()

    def _ask(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        words = (*NO_HOOKS, *DURABLE, *_PLAIN_INDEX, *arguments)
        answer = self._git.run(
            self._site.worktree,
            *words,
            stdin=stdin,
            environment={**self._objects, **(environment or {})},
            timeout_s=_WRITE_TIMEOUT_S,
        )
        if not answer.ok:
            raise KeptError(f"git cannot save its state: {answer.last_words}")
        return answer.output


def _message(site: Site, snapshot: Snapshot, inventory: Inventory, ref: str) -> str:
    lines = [
        f"Work of {site.name}, saved by Phalanx",
        "",
        f"Instance: {site.name}",
        f"Branch: {site.branch}",
        f"Commit that it was on: {snapshot.commit}",
        f"Worktree: {str(site.worktree)!a}",
        f"Saved: {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}",
    ]
    if inventory.status.changed:
        lines.append(f"Not committed: {len(inventory.status.changed)} file(s): {some_of(inventory.status.changed)}")
    if inventory.ignored:
        lines.append(f"Ignored by git, but part of this commit: {some_of(inventory.ignored)}")
    if inventory.converted:
        lines += [
            f"As they were, not as git's filters would keep them: {some_of(inventory.converted)}",
            f"To get such a file back: git cat-file blob {ref}:PATH > PATH",
        ]
    if inventory.empty:
        lines.append(f"Empty directories, which no commit can hold: {some_of(inventory.empty)}")
    if snapshot.needs_second_parent:
        lines.append("What was staged is not what the files hold; it is the second parent of this commit.")
    lines += ["", "To get all of it back:", f"    git checkout -b {site.name}-saved {ref}"]
    if snapshot.needs_second_parent:
        lines += ["To get it back as changes, staged and not:", f"    git stash apply --index {ref}"]
    return "\n".join(lines) + "\n"


def _quoted(path: str) -> bytes:
    """As git takes any name in a list that has a name on each line."""
    return b'"' + b"".join(b"\\%03o" % byte for byte in os.fsencode(path)) + b'"'
