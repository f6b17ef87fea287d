"""Of what an answer depends on, that which is easily overlooked; where it cannot be seen, the answer is not kept."""

from __future__ import annotations

import time

import pytest

from actors.git import reads
from actors.git.fingerprint import MOST_ENTRIES, STEP_NS, Fingerprinter
from actors.git.layout import find_place
from actors.git.model import Read, ReadLog
from tests.integration.git.conftest import Project
from tests.integration.git.test_fingerprints import BRANCHES, LOG, STATUS, holds, settled

REVISIONS = [
    *("FETCH_HEAD", "ORIG_HEAD", "main@{1}", "main@{10.minutes.ago}", "@{-1}", "worktrees/tree/HEAD"),
    *("main-worktree/HEAD", "main..FETCH_HEAD", "AUTO_MERGE"),
]


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_a_revision_stands_for_beside_refs_is_never_kept(project: Project, revision: str) -> None:
    place = find_place(project.repository)
    assert place is not None
    time.sleep(STEP_NS / 1e9)

    assert Fingerprinter(project.environment).begin(place, ReadLog(revision=revision, limit=1), time.time_ns()) is None


@pytest.mark.parametrize("revision", ["HEAD", "HEAD~1", "main", "main..member", "HEAD^{commit}", "v1.0"])
def test_the_log_of_a_ref_or_of_head_is_kept(project: Project, revision: str) -> None:
    project.commit("a")
    project.git("tag", "v1.0")

    fingerprint = settled(project, ReadLog(revision=revision, limit=1)).fingerprint

    assert holds(project, ReadLog(revision=revision, limit=1), fingerprint)


def test_rules_that_are_reached_by_a_link_are_looked_at(project: Project) -> None:
    rules = project.base / "dotfiles"
    rules.write_text("")
    link = project.base / "user/.config/git/ignore"
    link.parent.mkdir(parents=True)
    link.symlink_to(rules)
    (project.repository / "a.tmp").write_text("x")
    fingerprint = settled(project, STATUS).fingerprint

    rules.write_text("*.tmp\n")

    assert not holds(project, STATUS, fingerprint)


@pytest.mark.parametrize("name", ["reftable/tables.list", "worktrees/tree/reftable/tables.list"])
@pytest.mark.parametrize("read", [LOG, BRANCHES], ids=["log", "branches"])
def test_tables_of_refs_are_looked_at(project: Project, name: str, read: Read) -> None:
    at = project.tree if read is LOG else project.repository
    path = project.repository / ".git" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("0x1-0x1-a.ref\n")
    fingerprint = settled(project, read, at=at).fingerprint

    path.write_text("0x1-0x2-b.ref\n")

    assert not holds(project, read, fingerprint, at=at)


def test_a_status_of_files_that_are_elsewhere_is_not_kept(project: Project) -> None:
    elsewhere = project.base / "elsewhere"
    elsewhere.mkdir()
    project.git("config", "core.worktree", str(elsewhere))

    assert _never_proved(project)


def test_a_status_with_very_many_ignored_files_is_not_kept(project: Project) -> None:
    project.commit(".gitignore", "*.o\n")
    for number in range(MOST_ENTRIES + 1):
        (project.repository / f"{number}.o").touch()

    assert _never_proved(project)


def test_a_large_answer_is_not_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(project, STATUS)
    monkeypatch.setattr(reads, "LARGEST_KEPT", 10)

    assert project.read(STATUS).fingerprint is None


def _never_proved(project: Project) -> bool:
    """Also not when all has been as it is for longer than the steps of its times."""
    time.sleep(STEP_NS / 1e9)
    return project.read(STATUS).fingerprint is None
