"""The logs of several commits of a repository are made by one git where that tells the same as asking for each."""

from __future__ import annotations

import random

import pytest

from actors.git.model import GitRequest, ReadLog
from tests.integration.git.conftest import Project, count_gits, result
from tests.integration.git.test_fingerprints import holds

LOG = ReadLog(revision=None, limit=3)


def ask(project: Project) -> list[dict[str, object]]:
    asked = [GitRequest(directory=each, operation=LOG) for each in (project.repository, project.tree)]
    return [result(outcome) for outcome in project.executor.read(asked)]


def test_the_logs_of_all_working_trees_are_made_by_one_git_and_kept_for_each(project: Project) -> None:
    for name in ("a", "b", "c", "d"):
        project.commit(name)
        project.commit(name, at=project.tree)
    gits = count_gits(project)
    asked = [GitRequest(directory=each, operation=LOG) for each in (project.repository, project.tree)]
    here, there = project.read_all(*asked)

    assert gits() == 1
    assert [each["commit"] for each in result(there)["commits"]] == project.git(  # type: ignore[attr-defined]
        "log", "-3", "--format=%H", at=project.tree
    ).splitlines()
    assert holds(project, LOG, here.fingerprint)
    project.commit("e")
    assert not holds(project, LOG, here.fingerprint)
    assert holds(project, LOG, there.fingerprint, project.tree)


def test_a_log_that_one_git_for_all_could_not_tell_is_told_all_the_same(project: Project) -> None:
    for name in ("a", "b", "c", "d"):
        project.commit(name, at=project.tree)
    project.git("checkout", "-q", "-b", "side", "HEAD")
    project.commit("side")
    project.git("checkout", "-q", "main")
    project.commit("main")
    project.git("merge", "-q", "--no-edit", "side")

    assert ask(project) == [
        result(project.executor.read([GitRequest(directory=each, operation=LOG)])[0])
        for each in (project.repository, project.tree)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_logs_of_any_history_are_those_that_git_tells_of_each(project: Project, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for number in range(12):
        at = chance.choice([project.repository, project.tree])
        if chance.random() < 0.2:
            other = "member" if at == project.repository else "main"
            project.git("merge", "-q", "--no-edit", other, at=at)
        else:
            date = f"@{1_700_000_000 + chance.randrange(1000)} +0000"
            project.git(
                "-c", f"user.name={number}", "commit", "-q", "--allow-empty", "-m", f"{number}\n\n{date}", at=at
            )
        for told, tree in zip(ask(project), (project.repository, project.tree), strict=True):
            commits = told["commits"]
            assert isinstance(commits, list)
            expected = project.git("log", "-3", "--format=%H|%P|%an|%s", at=tree).splitlines()
            fields = ("commit", "parents", "author", "subject")
            shown = [
                "|".join(" ".join(value) if isinstance(value, list) else value for value in map(each.get, fields))
                for each in commits
            ]
            assert shown == expected


def test_the_log_of_a_commit_that_cannot_be_read_fails_alone(project: Project) -> None:
    commit = project.commit("a", at=project.tree)
    (project.repository / ".git/objects" / commit[:2] / commit[2:]).unlink()
    here, there = project.executor.read(
        [GitRequest(directory=each, operation=LOG) for each in (project.repository, project.tree)]
    )

    assert here.error is None
    assert there.error is not None
