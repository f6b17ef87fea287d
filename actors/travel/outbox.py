"""Parcels of a host: git bundles in files, from which any piece can be read again until they are discarded.

Promises: what is packed is complete for who has ``haves``; packing changes nothing in the repository that is there
afterwards; a parcel that nobody has discarded goes after a while. Every method blocks.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from actors.errors import InvalidRequestError, WorkspaceError
from actors.travel.values import PIECE_BYTES, Parcel
from actors.workspace.command import GitRunner

PACK_TIMEOUT_S = 900.0
_FORGOTTEN_S = 3600.0
_ID = re.compile(r"[0-9a-f]{32}")
_REFS = "refs/phalanx/travel/"


class Outbox:
    def __init__(self, directory: Path, git: GitRunner) -> None:
        """``directory`` is made (0700) when it is needed."""
        self._directory = directory
        self._git = git

    def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Parcel:
        """All that is needed for ``commits`` by who has ``haves``, of which some may not be known here.

        Raises ``WorkspaceError`` in git's words, and for a repository that is itself incomplete.
        """
        self._clear_forgotten()
        known = self._known(git_directory, haves)
        if set(commits) <= known:
            return Parcel(parcel_id="", size=0)
        self._check_complete(git_directory)
        parcel_id = secrets.token_hex(16)
        path = self._path(parcel_id)
        with self._named(git_directory, parcel_id, commits) as refs:
            lines = [*refs, *(f"^{commit}" for commit in sorted(known))]
            answer = self._git.run(
                *(git_directory, f"--git-dir={git_directory}", "bundle", "create", "--quiet", str(path), "--stdin"),
                stdin="".join(f"{line}\n" for line in lines).encode(),
                timeout_s=PACK_TIMEOUT_S,
            )
        if answer.ok:
            return Parcel(parcel_id=parcel_id, size=path.stat().st_size)
        path.unlink(missing_ok=True)
        if "empty bundle" in answer.error:
            return Parcel(parcel_id="", size=0)
        raise WorkspaceError(f"git cannot pack what another host lacks of {git_directory}: {answer.last_words}")

    def piece(self, parcel_id: str, offset: int) -> bytes:
        """At most ``PIECE_BYTES`` from ``offset``; may be asked for again. Raises ``InvalidRequestError``."""
        try:
            with self._path(parcel_id).open("rb") as parcel:
                parcel.seek(offset)
                return parcel.read(PIECE_BYTES)
        except FileNotFoundError:
            raise InvalidRequestError(f"There is no parcel {parcel_id} (any more): pack it again.") from None

    def discard(self, parcel_id: str) -> None:
        """No-op when there is none."""
        self._path(parcel_id).unlink(missing_ok=True)

    def _path(self, parcel_id: str) -> Path:
        if _ID.fullmatch(parcel_id) is None:
            raise InvalidRequestError(f"{parcel_id!r} is no parcel.")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._directory / f"{parcel_id}.bundle"

    def _known(self, git_directory: Path, haves: Collection[str]) -> set[str]:
        if not haves:
            return set()
        stdin = "".join(f"{commit}\n" for commit in haves).encode()
        answer = self._git.run_in_repository(
            git_directory, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=stdin
        )
        return {line.split(" ")[0] for line in answer.output.splitlines() if line.endswith(" commit")}

    def _check_complete(self, git_directory: Path) -> None:
        answer = self._git.run_in_repository(git_directory, "rev-parse", "--is-shallow-repository")
        if answer.output.strip() == "true":
            raise WorkspaceError(
                f"The repository {git_directory} is a shallow clone, which cannot be carried to other hosts. Run "
                "`git fetch --unshallow` there, or spawn on its own host."
            )

    @contextmanager
    def _named(self, git_directory: Path, parcel_id: str, commits: Sequence[str]) -> Iterator[list[str]]:
        """Bundles are made of refs; these keep the commits from a clean-up meanwhile, too."""
        refs = {f"{_REFS}{parcel_id}/{number}": commit for number, commit in enumerate(commits)}
        self._update(git_directory, [f"create {ref} {commit}" for ref, commit in refs.items()])
        try:
            yield list(refs)
        finally:
            self._update(git_directory, [f"delete {ref}" for ref in refs])

    def _update(self, git_directory: Path, steps: Sequence[str]) -> None:
        stdin = "".join(f"{step}\n" for step in steps).encode()
        answer = self._git.run_in_repository(git_directory, "update-ref", "--stdin", stdin=stdin)
        if not answer.ok:
            raise WorkspaceError(f"git cannot pack what another host lacks of {git_directory}: {answer.last_words}")

    def _clear_forgotten(self) -> None:
        """Of transfers that died with a host."""
        if not self._directory.is_dir():
            return
        for left in self._directory.glob("*.bundle"):
            try:
                if time.time() - left.stat().st_mtime > _FORGOTTEN_S:
                    os.unlink(left)  # noqa: PTH108 - may be gone meanwhile
            except FileNotFoundError:
                continue
