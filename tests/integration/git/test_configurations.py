"""What people write into git's configuration changes nothing of what the operations tell and make.

Hooks and signing are the user's word on commits, and are heeded: then a commit and a merge are refused in git's words.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from actors.git.executor import GitExecutor
from actors.git.model import (
    Checkout,
    Commit,
    CreateRef,
    DeleteBranch,
    ListRefs,
    ListWorktrees,
    Merge,
    PredictMerge,
    ReadDiff,
    ReadLog,
    ReadStatus,
)
from actors.worktrees.manager import WorktreeManager
from tests.integration.git.conftest import Project, branch, refusal, result

CONFIGURATIONS: dict[str, dict[str, str]] = {
    "nothing": {},
    "no commit": {"branch.main.mergeOptions": "--no-commit", "branch.member.mergeOptions": "--no-commit"},
    "squash": {"branch.main.mergeOptions": "--squash", "branch.member.mergeOptions": "--squash"},
    "another strategy": {"branch.main.mergeOptions": "-s ours -X theirs --no-ff --log -m mine"},
    "another strategy for all": {"pull.twohead": "ours"},
    "fast forward only": {"merge.ff": "only", "pull.ff": "only"},
    "never fast forward": {"merge.ff": "false"},
    "log in merges": {"merge.log": "true", "merge.summary": "true", "merge.autoStash": "true", "merge.stat": "true"},
    "rebase": {"pull.rebase": "true", "rebase.autoStash": "true", "branch.autoSetupRebase": "always"},
    "rerere": {"rerere.enabled": "true", "rerere.autoUpdate": "true"},
    "hidden untracked files": {"status.showUntrackedFiles": "no", "status.relativePaths": "true"},
    "status in other ways": {
        "status.short": "true",
        "status.branch": "false",
        "status.showStash": "true",
        "status.aheadBehind": "false",
        "status.renames": "copies",
        "status.submoduleSummary": "true",
    },
    "another diff": {
        "diff.external": "false",
        "diff.noprefix": "true",
        "diff.relative": "true",
        "diff.renames": "copies",
    },
    "other prefixes": {"diff.mnemonicPrefix": "true", "diff.srcPrefix": "left/", "diff.dstPrefix": "right/"},
    "colours": {"color.ui": "always", "color.diff": "always", "color.status": "always", "diff.colorMoved": "zebra"},
    "words": {"diff.wordRegex": ".", "diff.submodule": "log", "diff.algorithm": "histogram"},
    "columns and pagers": {"column.ui": "always", "core.pager": "false", "pager.log": "false", "pager.diff": "true"},
    "signatures in logs": {"log.showSignature": "true", "log.follow": "true", "log.decorate": "full"},
    "logs in other ways": {
        "format.pretty": "oneline",
        "log.abbrevCommit": "true",
        "log.date": "relative",
        "log.mailmap": "true",
        "core.abbrev": "4",
    },
    "another encoding": {"i18n.commitEncoding": "ISO-8859-1", "i18n.logOutputEncoding": "ISO-8859-1"},
    "names as they are": {"core.quotePath": "false", "core.precomposeUnicode": "true"},
    "comments": {"commit.cleanup": "strip", "core.commentChar": "T", "commit.verbose": "true"},
    "a template": {"commit.template": "/nowhere", "core.editor": "false", "sequence.editor": "false"},
    "a monitor": {"core.fsmonitor": "true", "core.untrackedCache": "true", "feature.manyFiles": "true"},
    "an index in parts": {"core.splitIndex": "true", "index.version": "4"},
    "no upkeep": {"gc.auto": "1", "maintenance.auto": "true", "gc.autoDetach": "true"},
    "tags": {"tag.gpgSign": "true", "tag.forceSignAnnotated": "true", "tag.sort": "-creatordate"},
    "pushes": {"push.default": "nothing", "push.autoSetupRemote": "true", "push.recurseSubmodules": "on-demand"},
    "submodules": {"submodule.recurse": "true", "fetch.recurseSubmodules": "true", "diff.ignoreSubmodules": "all"},
    "branches": {"branch.autoSetupMerge": "always", "branch.sort": "-committerdate", "init.defaultBranch": "trunk"},
    "worktrees": {"worktree.guessRemote": "true", "extensions.worktreeConfig": "true", "checkout.workers": "4"},
    "relative worktrees": {"worktree.useRelativePaths": "true"},
    "aliases": {"alias.status": "!false", "alias.merge": "!false", "alias.commit": "!false", "alias.log": "!false"},
    "advice": {"advice.detachedHead": "true", "advice.statusHints": "true", "help.autoCorrect": "immediate"},
    "rules of the user": {"core.excludesFile": "~/rules", "core.attributesFile": "~/attributes"},
    "other modes": {"core.fileMode": "false", "core.ignoreCase": "true", "core.symlinks": "true"},
    "whitespace": {"core.whitespace": "error", "apply.whitespace": "error", "core.safecrlf": "warn"},
    "ambiguous names": {"core.warnAmbiguousRefs": "false", "log.excludeDecoration": "*"},
}
REFUSING: dict[str, dict[str, str]] = {
    "signing without a key": {"commit.gpgSign": "true", "gpg.program": "false"},
    "hooks that fail": {"core.hooksPath": "~/hooks"},
}
WORDS = "Größe, as asked\n\n# no comment\nThe end"
OF_A_REPOSITORY = {
    "GIT_DIR": "/nowhere/.git",
    "GIT_WORK_TREE": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere/index",
    "GIT_OBJECT_DIRECTORY": "/nowhere/objects",
    "GIT_NAMESPACE": "another",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_DIFF_OPTS": "--unified=0",
    "GIT_PAGER": "false",
    "GIT_EDITOR": "false",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "merge.ff",
    "GIT_CONFIG_VALUE_0": "only",
    "GIT_TRACE": "1",
    "GIT_LITERAL_PATHSPECS": "0",
    "GIT_GLOB_PATHSPECS": "1",
    "LC_ALL": "de_DE.UTF-8",
}


def configure(project: Project, settings: dict[str, str]) -> None:
    """Each in the user's own file, but what is a repository's alone."""
    user = project.base / "user"
    (user / "rules").write_text("*.mine\n")
    (user / "attributes").write_text("*.txt -diff\n")
    for name, value in settings.items():
        where = ("--local",) if name.startswith("extensions.") else ("--file", str(user / ".gitconfig"))
        project.git("config", *where, name, value.replace("~", str(user)))


def make_hooks_that_fail(directory: Path) -> None:
    directory.mkdir()
    for name in ("pre-commit", "pre-merge-commit", "commit-msg", "post-checkout"):
        (directory / name).write_text("#!/bin/sh\necho the hook refuses >&2\nexit 1\n")
        (directory / name).chmod(0o755)


def prepare(project: Project) -> None:
    """``member`` has a commit of its own that ``main`` lacks, and ``main`` one that ``member`` lacks."""
    project.commit("src/of member.txt", "one\n", at=project.tree)
    project.commit("of main.txt", "two\n")
    project.git("branch", "behind", "main~1")
    (project.repository / "README.md").write_text("# Project\nchanged\n")
    (project.repository / "new ä").write_text("x\n")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_is_told_made_and_saved_is_the_same_whatever_is_configured(project: Project, name: str) -> None:
    prepare(project)
    configure(project, CONFIGURATIONS[name])
    check_reads(project)
    check_workspace(project)
    check_refs(project)

    commit = Commit(message=WORDS, files=("README.md", "new ä"), everything=False)
    made = result(project.write(commit))
    assert project.git("show", "--no-patch", "--format=%B", "--encoding=UTF-8", str(made["commit"])) == WORDS
    logged = result(project.read(ReadLog(revision=None, limit=1, files=("new ä",))))["commits"]
    assert isinstance(logged, list)
    assert logged[0]["subject"] == "Größe, as asked"

    ours = project.git("rev-parse", "HEAD")
    merged = result(project.write(Merge(branch="member", message=WORDS)))
    assert (merged["alreadyMerged"], merged["fastForward"]) == (False, False)
    assert project.git("rev-parse", "HEAD^1", "HEAD^2").split() == [ours, project.git("rev-parse", "member")]
    assert project.git("show", "--no-patch", "--format=%B", "--encoding=UTF-8", "HEAD") == WORDS
    assert (project.repository / "src/of member.txt").read_text() == "one\n"
    assert result(project.read(ReadStatus()))["clean"]

    behind = result(project.write(Merge(branch="main", message=None), at=project.tree))
    assert (behind["alreadyMerged"], behind["fastForward"]) == (False, True)
    assert result(project.write(Merge(branch="main", message=None), at=project.tree))["alreadyMerged"]
    assert result(project.read(PredictMerge(branch="member")))["alreadyMerged"]


@pytest.mark.parametrize("name", REFUSING)
def test_what_hooks_and_signing_refuse_is_refused_in_gits_words_and_all_else_goes_on(
    project: Project, name: str
) -> None:
    prepare(project)
    make_hooks_that_fail(project.base / "user/hooks")
    configure(project, REFUSING[name])
    check_reads(project)

    before = state(project)
    words = "the hook refuses" if name == "hooks that fail" else "gpg failed to sign"
    assert words in refusal(project.write(Commit(message=WORDS, files=("README.md",), everything=False)))
    assert state(project) == before
    project.git("checkout", "-q", "--", "README.md")
    before = state(project)
    assert words in refusal(project.write(Merge(branch="member", message=WORDS)))
    assert state(project) == before
    result(project.write(DeleteBranch(name="behind")))
    check_workspace(project)


def test_variables_of_another_repository_have_no_say(project: Project) -> None:
    prepare(project)
    object.__setattr__(project, "executor", GitExecutor({**project.environment, **OF_A_REPOSITORY}))
    check_reads(project)
    check_refs(project)
    merged = result(project.write(Merge(branch="member", message=None)))
    assert (merged["alreadyMerged"], merged["fastForward"]) == (False, False)
    check_workspace(project, **OF_A_REPOSITORY)


def test_a_branch_of_any_name_is_merged_into_whatever_its_options_are(project: Project) -> None:
    name = "a.b=c/d]'\"x"
    prepare(project)
    project.git("stash", "-q")
    project.git("checkout", "-q", "-b", name)
    project.git("config", f"branch.{name}.mergeOptions", "--no-commit -s ours")
    result(project.write(Merge(branch="member", message=None)))
    assert (project.repository / "src/of member.txt").exists()
    assert project.git("rev-parse", "HEAD^2") == project.git("rev-parse", "member")


def state(project: Project) -> list[str]:
    """Of the working tree, the index and all refs."""
    looks = (["status", "--porcelain=v2"], ["ls-files", "--stage"], ["for-each-ref"], ["rev-parse", "HEAD"])
    return [project.git(*look) for look in looks]


def check_reads(project: Project) -> None:
    main, member = project.git("rev-parse", "main", "member").split()
    status = result(project.read(ReadStatus()))
    told = [status[kind] for kind in ("branch", "commit", "staged", "unstaged", "untracked", "clean")]
    assert told == ["main", main, [], ["README.md"], ["new ä"], False]
    branches = result(project.read(ListRefs(kind="branch")))
    assert branches["current"] == "main"
    assert isinstance(branches["branches"], list)
    assert [each["name"] for each in branches["branches"]] == ["behind", "main", "member"]
    log: Any = result(project.read(ReadLog(revision="member", limit=5, files=("src/of member.txt",))))["commits"]
    assert [(each["commit"], each["subject"]) for each in log] == [(member, "Add src/of member.txt")]
    diff: Any = result(project.read(ReadDiff(base=None, head=None, staged=False), at=project.repository))
    assert diff["files"] == [{"path": "README.md", "added": 1, "deleted": 0}]
    assert "diff --git a/README.md b/README.md\n" in diff["patch"]
    assert "\n--- a/README.md\n+++ b/README.md\n@@ -1 +1,2 @@\n # Project\n+changed\n" in diff["patch"]
    below: Any = result(project.read(ReadDiff(base="main", head="member", staged=False), at=project.tree / "src"))
    assert [each["path"] for each in below["files"]] == ["of main.txt", "src/of member.txt"]
    trees: Any = result(project.read(ListWorktrees()))["worktrees"]
    assert [each["branch"] for each in trees] == ["main", "member"]
    foreseen = result(project.read(PredictMerge(branch="member")))
    assert (foreseen["clean"], foreseen["alreadyMerged"]) == (True, False)


def check_refs(project: Project) -> None:
    main = project.git("rev-parse", "main")
    made = project.create(branch("one"), CreateRef(kind="tag", name="v1", start="member"))
    assert [result(each)["created"] for each in made] == [True, True]
    assert result(project.write(DeleteBranch(name="behind")))["deleted"]
    switched = result(project.write(Checkout(branch="two", create=True, start="member"), at=project.tree))
    assert (switched["branch"], switched["commit"]) == ("two", project.git("rev-parse", "member"))
    result(project.write(Checkout(branch="member", create=False, start=None), at=project.tree))
    assert project.git("rev-parse", "one") == main
    tags = result(project.read(ListRefs(kind="tag")))["tags"]
    assert isinstance(tags, list)
    assert [each["name"] for each in tags] == ["v1"]


def check_workspace(project: Project, **more: str) -> None:
    workspaces = WorktreeManager(project.base / "home/worktrees", {**project.environment, **more})
    workspace = workspaces.create("spec_1", project.repository, "isolated")
    assert workspace.branch == "phalanx/spec_1"
    (workspace.directory / "README.md").write_text("mine\n")
    (workspace.directory / "idea.mine").write_text("an idea\n")
    removal = workspaces.retire(workspace)
    assert (removal.removed, removal.saved_ref) == (True, "refs/phalanx/saved/spec_1")
    assert project.git("show", f"{removal.saved_ref}:README.md") == "mine"
    assert project.git("show", f"{removal.saved_ref}:idea.mine") == "an idea"
    assert not os.listdir(project.base / "home/worktrees")  # noqa: PTH208
