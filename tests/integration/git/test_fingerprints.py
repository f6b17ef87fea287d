"""An answer that was kept is only given while it is what git itself would say; what cannot be seen is not kept."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from actors.git import reads
from actors.git.fingerprint import MOST_ENTRIES, STEP_NS, Fingerprinter
from actors.git.layout import find_place
from actors.git.model import (
    Fingerprint,
    GitRequest,
    GitResponse,
    ListRefs,
    ListWorktrees,
    Read,
    ReadDiff,
    ReadLog,
    ReadStatus,
)
from tests.integration.git.conftest import Project, count_gits, result

STATUS, LOG, BRANCHES = ReadStatus(), ReadLog(revision=None, limit=5), ListRefs(kind="branch")
READS: tuple[Read, ...] = (STATUS, LOG, ReadLog(revision="main", limit=5), BRANCHES, ListWorktrees())


def settled(project: Project, read: Read, at: Path | None = None) -> GitResponse:
    """Asked until the answer can be proved: what changed only just now must first have been so for a moment."""
    deadline = time.monotonic() + 10
    while (outcome := project.read(read, at=at)).fingerprint is None:
        assert time.monotonic() < deadline, "it never settles"
    return outcome


def holds(project: Project, read: Read, fingerprint: Fingerprint | None, at: Path | None = None) -> bool:
    return project.read(read, at=at, known=fingerprint).unchanged


@pytest.mark.parametrize("read", READS, ids=str)
def test_as_long_as_nothing_changes_an_answer_holds(project: Project, read: Read) -> None:
    fingerprint = settled(project, read).fingerprint

    assert holds(project, read, fingerprint)
    assert holds(project, read, fingerprint)


def _below(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("x")


CHANGES: dict[str, Callable[[Project], object]] = {
    "commit": lambda p: p.commit("a"),
    "commit on packed refs": lambda p: (p.git("pack-refs", "--all"), p.commit("a")),
    "new branch": lambda p: p.git("branch", "new"),
    "checkout": lambda p: p.git("checkout", "-q", "-b", "new"),
    "detach": lambda p: p.git("checkout", "-q", "--detach"),
    "stage": lambda p: ((p.repository / "b").write_text("x"), p.git("add", "b")),
    "change of the index alone": lambda p: p.git("rm", "-q", "--cached", "README.md"),
    "unstaged change": lambda p: (p.repository / "README.md").write_text("x"),
    "change of the same length": lambda p: (p.repository / "README.md").write_text("# projecT\n"),
    "new file": lambda p: (p.repository / "b").write_text("x"),
    "new file below": lambda p: _below(p.repository / "d/e/f"),
    "deleted file": lambda p: (p.repository / "README.md").unlink(),
    "executable": lambda p: (p.repository / "README.md").chmod(0o755),
    "ignore rule": lambda p: (p.repository / ".git/info/exclude").write_text("*\n"),
    "configuration": lambda p: p.git("config", "core.filemode", "false"),
}
ENDS = {
    STATUS: set(CHANGES) - {"new branch"},
    LOG: {"commit", "commit on packed refs", "checkout", "detach", "configuration", "ignore rule"},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read", ENDS, ids=["status", "log"])
def test_every_change_that_an_answer_shows_ends_it(project: Project, read: Read, change: str) -> None:
    fingerprint = settled(project, read).fingerprint
    CHANGES[change](project)

    assert holds(project, read, fingerprint) == (change not in ENDS[read])


def test_what_other_members_commit_leaves_the_answers_of_a_working_tree_alone(project: Project) -> None:
    status, log = settled(project, STATUS).fingerprint, settled(project, LOG).fingerprint
    branches = settled(project, BRANCHES).fingerprint
    project.commit("a", at=project.tree)

    assert holds(project, STATUS, status)
    assert holds(project, LOG, log)
    assert not holds(project, BRANCHES, branches)


def test_a_status_that_is_compared_with_an_upstream_ends_when_that_moves(project: Project) -> None:
    project.git("branch", "--set-upstream-to=main", "member")
    before = settled(project, STATUS, project.tree)
    project.commit("a")
    after = project.read(STATUS, at=project.tree, known=before.fingerprint)

    assert (result(before)["behind"], result(after)["behind"]) == (0, 1)


def test_what_git_ignores_may_change_without_ending_a_status(project: Project) -> None:
    project.commit(".gitignore", "build/\n*.log\n")
    (project.repository / "build").mkdir()
    for name in ("build/a", "x.log"):
        (project.repository / name).write_text("1")
    fingerprint = settled(project, STATUS).fingerprint
    (project.repository / "build/b").write_text("1")
    with (project.repository / "x.log").open("a") as log:
        log.write("2")

    assert holds(project, STATUS, fingerprint)


def test_an_answer_from_the_moment_of_a_change_is_not_kept(project: Project) -> None:
    for number in range(3):
        (project.repository / "README.md").write_text(f"{number}")
        assert project.read(STATUS).fingerprint is None


def test_what_is_not_seen_at_a_glance_is_not_kept(project: Project) -> None:
    time.sleep(STEP_NS / 1e9)
    assert project.read(ReadDiff(base=None, head=None, staged=False)).fingerprint is None
    inner = project.repository / "inner"
    project.git("init", "-q", str(inner))
    for number in range(MOST_ENTRIES + 1):
        (project.tree / str(number)).touch()
    time.sleep(STEP_NS / 1e9)
    assert project.read(STATUS).fingerprint is None
    assert project.read(STATUS, at=project.tree).fingerprint is None
    (project.base / "user/.gitconfig").write_text("[include]\npath = other\n")
    time.sleep(STEP_NS / 1e9)
    assert project.read(LOG).fingerprint is None


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_done_in_whatever_order_a_known_answer_is_what_git_says(project: Project, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the same changes in every run
    known: dict[tuple[Read, Path], GitResponse] = {}
    for _ in range(8):
        _change(project, random)
        for read in (STATUS, LOG, BRANCHES):
            for tree in (project.repository, project.tree):
                before = known.get((read, tree))
                outcome = project.read(read, at=tree, known=before.fingerprint if before else None)
                fresh = project.read(read, at=tree)
                said = before if outcome.unchanged and before else outcome
                assert result(said) == result(fresh)
                if random.random() < 0.5:
                    known[read, tree] = settled(project, read, tree)


def _change(project: Project, random: Random) -> None:
    tree = random.choice([project.repository, project.tree])
    name = f"{random.choice('ab')}/{random.choice('xyz')}"
    path = tree / name
    match random.randrange(8):
        case 0:
            project.commit(name, str(random.random()), at=tree)
        case 1:
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(random.randrange(3)))
        case 2:
            path.unlink(missing_ok=True)
        case 3:
            project.git("add", "--all", at=tree)
        case 4:
            project.git("branch", "--force", random.choice("pqr"), at=tree)
        case 5:
            (tree / ".gitignore").write_text(random.choice(["", "a/\n", "x\n", "*/y\n"]))
        case 6:
            project.git("pack-refs", "--all")
        case 7:
            path.parent.rename(tree / "c") if path.parent.exists() and not (tree / "c").exists() else None


def test_beside_others_that_write_every_answer_was_true_between_its_call_and_its_end(project: Project) -> None:
    """Writers commit numbers that only rise, so two looks around an answer bound what was true."""
    ending = threading.Event()
    trees = {project.repository: "main", project.tree: "member"}

    def write(tree: Path) -> None:
        pauses = itertools.cycle((0, 0.02, 0.15, 1.0))
        for number in itertools.takewhile(lambda _: not ending.is_set(), itertools.count(1)):
            (tree / "number").write_text(str(number))
            project.git("add", "number", at=tree)
            project.git("commit", "-q", "-m", str(number), at=tree)
            ending.wait(next(pauses))

    writers = [threading.Thread(target=write, args=(tree,)) for tree in trees]
    for writer in writers:
        writer.start()
    hits = 0
    try:
        known: dict[Path, GitResponse] = {}
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            for tree in trees:
                before = _number(tree)
                outcome = project.read(LOG, at=tree, known=known[tree].fingerprint if tree in known else None)
                after = _number(tree)
                hits += outcome.unchanged
                answer = known[tree] if outcome.unchanged else outcome
                commits = result(answer)["commits"]
                assert isinstance(commits, list)
                subject = commits[0]["subject"]
                assert before <= (int(subject) if subject.isdigit() else 0) <= after
                if outcome.fingerprint is not None:
                    known[tree] = outcome
                elif not outcome.unchanged:
                    known.pop(tree, None)
    finally:
        ending.set()
        for writer in writers:
            writer.join()
    assert hits


def _number(tree: Path) -> int:
    told = subprocess.run(
        ["git", "-C", str(tree), "log", "-1", "--format=%s"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return int(told) if told.isdigit() else 0


def test_the_log_of_a_commit_that_was_only_just_made_is_kept(project: Project) -> None:
    settled(project, LOG)
    commit = project.commit("a")
    told = project.read(LOG)

    assert told.fingerprint is not None
    assert holds(project, LOG, told.fingerprint)
    assert _commits(told)[0]["commit"] == commit


def test_the_lists_of_all_working_trees_are_made_by_one_git_and_kept_for_each(project: Project) -> None:
    gits = count_gits(project)
    settled(project, BRANCHES)
    asked = [GitRequest(directory=each, operation=BRANCHES) for each in (project.repository, project.tree)]
    before = gits()
    here, there = project.read_all(*asked)

    assert gits() - before == 1
    assert (result(here)["current"], result(there)["current"]) == ("main", "member")
    assert result(here)["branches"] == result(there)["branches"]
    assert holds(project, BRANCHES, here.fingerprint)
    assert holds(project, BRANCHES, there.fingerprint, project.tree)
    project.git("checkout", "-q", "--detach", at=project.tree)
    assert not holds(project, BRANCHES, there.fingerprint, project.tree)
    assert result(project.read(BRANCHES, at=project.tree))["current"] is None


@pytest.mark.parametrize("pack", [False, True])
def test_a_list_tells_the_branch_that_a_symbolic_one_stands_for(project: Project, pack: bool) -> None:
    project.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    project.git("symbolic-ref", "HEAD", "refs/heads/alias")
    if pack:
        project.git("pack-refs", "--all")

    assert result(project.read(BRANCHES))["current"] == "main"


def _commits(outcome: GitResponse) -> list[dict[str, str]]:
    commits = result(outcome)["commits"]
    assert isinstance(commits, list)
    return commits


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
