"""Taking a parcel into a repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.command import GitRunner

UNPACK_TIMEOUT_S = 900.0


def unpack(git: GitRunner, git_directory: Path, parcel: Path, commits: Sequence[str]) -> None:
    """Afterwards the repository has ``commits`` with all that belongs to them; no ref is changed.

    Raises ``WorkspaceError``; what was taken in then is of no harm, git's own clean-up removes it some day.
    """
    taken = git.run(
        git_directory, f"--git-dir={git_directory}", "bundle", "unbundle", str(parcel), timeout_s=UNPACK_TIMEOUT_S
    )
    if not taken.ok:
        raise WorkspaceError(f"{git_directory} could not take in what came for it: {taken.last_words}. Try again.")
    # As git fetch does: what came must be whole before a ref says that it is.
    whole = git.run(
        git_directory,
        *(f"--git-dir={git_directory}", "rev-list", "--objects", "--quiet", *commits, "--not", "--all"),
        timeout_s=UNPACK_TIMEOUT_S,
    )
    if not whole.ok:
        raise WorkspaceError(f"What came for {git_directory} was not whole: {whole.last_words}. Try again.")
