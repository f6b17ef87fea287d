"""The work of several members comes into one branch, all of it or none, whatever is in the way."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, PhalanxError, RefusedError, WorkspaceError, WrongStateError
from actors.git.model import Conflict, MergeReport, PreparedMerge, WorkBranch
from tests.integration.git.conftest import ROOT, Project, count_gits, until
from tests.integration.git.merging import Merging

WIDE = "".join(f"line {number}\n" for number in range(40))


@pytest.fixture
def merging(project: Project) -> Merging:
    return Merging(project.base)


def states(report: MergeReport) -> dict[str, str]:
    return {name: outcome.state for name, outcome in report.outcomes.items()}


def unchanged(merging: Merging, act: Callable[[], object]) -> None:
    """Nothing but git's objects is changed by ``act``."""
    before = merging.photograph()
    act()
    assert merging.photograph() == before
    assert merging.leftovers() == []


def test_all_work_comes_into_the_branch_that_is_checked_out_and_into_its_files(merging: Merging) -> None:
    for name in ("one", "two", "three"):
        merging.member(name, {f"{name}.txt": name})

    report = merging.merge("one", "two", "three")

    assert states(report) == dict.fromkeys(("one", "two", "three"), "merged")
    assert (report.into, report.moved, report.commit) == ("main", True, merging.main())
    assert sorted(report.order) == ["one", "three", "two"]
    assert {(merging.repository / f"{name}.txt").read_text() for name in report.order} == set(report.order)
    assert merging.project.git("status", "--porcelain") == ""
    assert merging.leftovers() == []


def test_a_conflict_is_told_with_both_sides_and_the_files_and_leaves_no_trace(merging: Merging) -> None:
    merging.member("one", {"README.md": "one\n", "a": "1"})
    merging.member("two", {"README.md": "two\n", "a": "2"})
    merging.member("three", {"c": "3"})
    reports: list[MergeReport] = []

    unchanged(merging, lambda: reports.append(merging.merge("one", "three", "two")))

    (report,) = reports
    assert report.conflicts == (Conflict(one="one", other="two", files=("README.md", "a")),)
    assert states(report) == {"one": "conflict", "two": "conflict", "three": "not_merged"}
    assert not report.moved


def test_a_conflict_with_the_target_is_told_as_one_with_the_target(merging: Merging) -> None:
    merging.member("one", {"README.md": "one\n"})
    merging.project.commit("README.md", "main\n")
    reports: list[MergeReport] = []

    unchanged(merging, lambda: reports.append(merging.merge("one")))

    assert reports[0].conflicts == (Conflict(one="", other="one", files=("README.md",)),)


def test_a_conflict_that_shows_only_in_the_merge_is_told_with_both_sides_too(merging: Merging) -> None:
    merging.commit(merging.repository, {"old/kept": WIDE})
    moves = merging.member("one")
    merging.project.git("mv", "old", "new", at=moves)
    merging.project.git("commit", "-q", "-m", "Another name", at=moves)
    merging.member("two", {"old/added": "where nothing is any more\n"})
    merging.member("three", {"c": "3"})
    assert merging.compare("one", "two").conflicts == (), "it is not predicted"
    reports: list[MergeReport] = []

    unchanged(merging, lambda: reports.append(merging.merge("one", "two", "three")))

    (report,) = reports
    (conflict,) = report.conflicts
    assert (conflict.one, conflict.other) == ("one", "two")
    assert conflict.files
    assert states(report) == {"one": "conflict", "two": "conflict", "three": "not_merged"}
    assert report.outcomes["two"].reason
    assert not report.moved


def test_it_is_told_which_branches_the_target_has_and_which_are_gone(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.member("two", {"b": "2"})
    before = merging.find_merged("one", "two", "gone")
    merging.merge("one")

    after = merging.find_merged("one", "two", "gone")

    assert (before.into, before.merged, set(before.commits)) == ("main", frozenset(), {"one", "two"})
    assert (after.merged, after.commits) == (frozenset({"one"}), before.commits)
    assert merging.find_merged("one", into="nowhere").merged == frozenset()
    assert merging.leftovers() == []


def test_an_owner_that_resolves_its_conflict_is_merged(merging: Merging) -> None:
    merging.member("one", {"README.md": "one\n"})
    two = merging.member("two", {"README.md": "two\n"})
    assert merging.merge("one", "two").conflicts
    subprocess.run(["git", "-C", str(two), "merge", "-q", "one"], capture_output=True, check=False)
    merging.commit(two, {"README.md": "one and two\n"})

    report = merging.merge("one", "two")

    assert states(report) == {"one": "merged", "two": "merged"}
    assert (merging.repository / "README.md").read_text() == "one and two\n"
    assert set(report.order) == {"one", "two"}


def test_what_was_merged_before_is_told_as_merged_and_moves_nothing(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.merge("one")
    reports: list[MergeReport] = []

    unchanged(merging, lambda: reports.append(merging.merge("one")))

    assert states(reports[0]) == {"one": "already_merged"}
    assert (reports[0].moved, reports[0].commit) == (False, merging.main())


def test_twelve_members_come_in_with_one_move_of_the_target(merging: Merging) -> None:
    names = [f"member{number}" for number in range(12)]
    for name in names:
        merging.member(name, {f"src/{name}.py": name})

    report = merging.merge(*names)

    assert set(states(report).values()) == {"merged"}
    moves = merging.project.git("reflog", "main").split("\n")
    assert len(moves) == 2
    assert len(list((merging.repository / "src").iterdir())) == 12


def test_a_rename_on_one_side_and_a_change_on_the_other_go_together(merging: Merging) -> None:
    merging.project.commit("wide.txt", WIDE)
    one = merging.member("one")
    (one / "wide.txt").rename(one / "moved.txt")
    merging.commit(one, {})
    merging.member("two", {"wide.txt": WIDE.replace("line 20", "changed")})

    report = merging.merge("one", "two")

    assert set(states(report).values()) == {"merged"}
    assert "changed" in (merging.repository / "moved.txt").read_text()
    assert not (merging.repository / "wide.txt").exists()


def test_two_binary_files_conflict(merging: Merging) -> None:
    merging.project.commit("picture", "text\n")
    merging.member("one", {"picture": b"\0\1" * 100})
    merging.member("two", {"picture": b"\0\2" * 100})

    assert merging.merge("one", "two").conflicts == (Conflict(one="one", other="two", files=("picture",)),)


def test_odd_names_are_told_and_merged_as_they_are(merging: Merging) -> None:
    odd = ["a\nb", "--into", "$(touch owned)", "quo\"te'", "ünï", "tab\there", " "]
    merging.member("one", dict.fromkeys(odd, "1"))
    merging.member("two", dict.fromkeys(odd, "2"))
    merging.member("three", {f"{name}3": "3" for name in odd})

    report = merging.merge("one", "two")
    assert set(report.conflicts[0].files) == set(odd)

    assert states(merging.merge("one", "three")) == {"one": "merged", "three": "merged"}
    assert {path.name for path in merging.repository.iterdir()} >= {*odd, *(f"{name}3" for name in odd)}


def test_a_name_that_is_no_utf8_is_told_as_far_as_it_can_be(merging: Merging) -> None:
    for name in ("one", "two"):
        tree = merging.member(name)
        (Path(str(tree)) / "caf\udce9").write_bytes(name.encode())
        merging.commit(tree, {})

    (conflict,) = merging.merge("one", "two").conflicts

    assert conflict.files == ("caf�",)


def test_a_submodule_that_both_have_moved_conflicts_and_one_that_one_has_moved_does_not(merging: Merging) -> None:
    first, second = merging.main(), merging.project.commit("more")
    for number, (name, commit) in enumerate((("one", first), ("two", second))):
        tree = merging.member(name, {f"{number}": "x"})
        merging.project.git("update-index", "--add", "--cacheinfo", f"160000,{commit},module", at=tree)
        merging.project.git("commit", "-q", "-m", "Module", at=tree)

    assert merging.merge("one", "two").conflicts[0].files == ("module",)
    assert states(merging.merge("one")) == {"one": "merged"}
    assert merging.project.git("ls-tree", "main", "module").startswith("160000")


def test_a_hook_that_refuses_is_quoted_and_leaves_no_trace(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.member("two", {"b": "1"})
    merging.project.hook("commit-msg", "echo the subject is too long >&2; exit 1")
    reports: list[MergeReport] = []

    unchanged(merging, lambda: reports.append(merging.merge("one", "two")))

    assert states(reports[0]) == {"one": "not_merged", "two": "failed"}
    assert "the subject is too long" in reports[0].outcomes["two"].reason


@pytest.mark.parametrize("tracked", [True, False])
def test_what_is_not_committed_where_the_target_is_checked_out_is_not_overwritten(
    merging: Merging, tracked: bool
) -> None:
    name = "README.md" if tracked else "new"
    merging.member("one", {name: "one\n"})
    (merging.repository / name).write_text("not committed\n")

    with pytest.raises(WorkspaceError, match=f"not committed in files that would change: '{name}'"):
        merging.merge("one")

    assert (merging.repository / name).read_text() == "not committed\n"
    assert merging.leftovers() == []


def test_an_ignored_file_is_not_overwritten_either(merging: Merging) -> None:
    merging.project.commit(".gitignore", "kept\n")
    merging.member("one", {"kept": "one\n"})
    (merging.repository / "kept").write_text("mine\n")
    before = merging.main()

    with pytest.raises(WorkspaceError, match="overwrite 1 untracked file"):
        merging.merge("one")

    assert ((merging.repository / "kept").read_text(), merging.main()) == ("mine\n", before)
    assert merging.leftovers() == []


def test_other_changes_where_the_target_is_checked_out_stay(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    (merging.repository / "README.md").write_text("not committed\n")
    (merging.repository / "new").write_text("new\n")

    assert merging.merge("one").moved

    assert merging.project.git("status", "--porcelain") == "M README.md\n?? new"
    assert (merging.repository / "a").exists()


@pytest.mark.parametrize("checked_out", [True, False])
def test_a_target_that_somebody_moves_meanwhile_is_left_where_they_moved_it(
    merging: Merging, checked_out: bool
) -> None:
    merging.member("one", {"a": "1"})
    if checked_out:
        into, where = "main", merging.repository
    else:
        into, where = "elsewhere", merging.repository
        merging.project.git("branch", "elsewhere")
    tip = merging.project.git("commit-tree", f"{into}^{{tree}}", "-p", into, "-m", "Somebody else")
    moves = ("git", "-C", str(where), "update-ref", f"refs/heads/{into}", tip)

    with pytest.raises(WorkspaceError, match=f"Somebody else has moved {into} meanwhile"):
        merging.merge("one", into=into, check=moves)

    assert merging.project.git("rev-parse", into) == tip
    assert merging.leftovers() == []


def test_a_target_that_is_checked_out_nowhere_is_moved_without_touching_a_tree(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.member("two", {"b": "1"})
    merging.project.git("branch", "release")
    before = merging.project.git("status", "--porcelain"), merging.main()

    report = merging.merge("one", "two", into="release")

    assert (report.into, report.commit) == ("release", merging.project.git("rev-parse", "release"))
    assert merging.project.git("ls-tree", "--name-only", "release").split() == ["README.md", "a", "b"]
    assert (merging.project.git("status", "--porcelain"), merging.main()) == before


def test_an_alias_of_a_branch_moves_that_branch_with_its_tree(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.project.git("symbolic-ref", "refs/heads/trunk", "refs/heads/main")

    report = merging.merge("one", into="trunk")

    assert (report.into, report.commit) == ("main", merging.main())
    assert merging.project.git("status", "--porcelain") == ""


def test_a_working_tree_that_was_deleted_by_hand_is_in_nobodys_way(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    shutil.rmtree(merging.member("lead"))

    assert merging.merge("one", into="lead").moved
    assert merging.project.git("ls-tree", "--name-only", "lead", "a") == "a"


def test_without_a_commit_there_is_nothing_to_merge_into(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.project.git("switch", "-q", "--orphan", "unborn")

    with pytest.raises(InvalidRequestError, match="no branch unborn with a commit"):
        merging.merge("one")
    with pytest.raises(InvalidRequestError, match="no branch nosuch"):
        merging.merge("one", into="nosuch")
    with pytest.raises(InvalidRequestError, match="The branch gone of gone is gone"):
        merging.merge("gone", into="main")


def test_a_detached_tree_does_not_say_what_to_merge_into(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.project.git("switch", "-q", "--detach")

    with pytest.raises(InvalidRequestError, match="Give into, the branch that is meant"):
        merging.merge("one")


def test_histories_without_a_common_commit_are_not_merged(merging: Merging) -> None:
    tree = merging.member("one")
    merging.project.git("switch", "-q", "--orphan", "other", at=tree)
    merging.commit(tree, {"a": "1"})

    report = merging.merge("other")

    assert report.outcomes["other"].state == "failed"
    assert "unrelated histories" in report.outcomes["other"].reason


def test_a_lock_in_the_way_is_told_and_nothing_is_moved(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    lock = merging.repository / ".git/index.lock"
    lock.touch()
    before = merging.main()

    with pytest.raises(WorkspaceError, match=r"remove .*index\.lock"):
        merging.merge("one")

    assert (merging.main(), merging.leftovers()) == (before, [])
    lock.unlink()
    assert merging.merge("one").moved


def test_an_order_is_found_in_which_the_check_passes_after_each(merging: Merging) -> None:
    merging.member("uses", {"uses": "x"})
    merging.member("base", {"base": "x"})
    check = ("sh", "-c", "test ! -e uses || test -e base")

    report = merging.merge("uses", "base", check=check)

    assert report.order == ("base", "uses")
    assert merging.main() == report.commit


def test_a_check_that_fails_is_quoted_and_leaves_no_trace(merging: Merging) -> None:
    merging.member("good", {"a": "1"})
    merging.member("bad", {"b": "1"})
    check = ("sh", "-c", "test ! -e b || { echo 1 test failed; touch new; echo x > README.md; exit 3; }")
    reports: list[MergeReport] = []

    unchanged(merging, lambda: reports.append(merging.merge("bad", "good", check=check)))

    assert states(reports[0]) == {"good": "not_merged", "bad": "failed"}
    assert "exit status 3. Its output ends:\n1 test failed" in reports[0].outcomes["bad"].reason


def test_what_a_check_changes_or_leaves_running_harms_no_later_merge(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.member("two", {"README.md": "two\n", "out": "two"})
    check = ("sh", "-c", "echo x > README.md; echo x > out2; git checkout -q -B elsewhere; sleep 60 & exit 0")

    report = merging.merge("one", "two", check=check)

    assert set(states(report).values()) == {"merged"}
    assert merging.project.git("show", "main:README.md") == "two"
    assert "out2" not in merging.project.git("ls-tree", "--name-only", "main")
    assert merging.leftovers() == []


def test_a_check_that_does_not_end_is_ended_with_all_that_it_has_started(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    check = ("sh", "-c", "trap '' TERM; (setsid sleep 600 &) ; sleep 600")

    report = merging.merge("one", check=check, check_timeout_s=0.5)

    assert "not done within 0.5 s" in report.outcomes["one"].reason
    assert not report.moved


@pytest.mark.parametrize("status", [124, 137])
def test_a_check_may_end_by_itself_with_any_status(merging: Merging, status: int) -> None:
    merging.member("one", {"a": "1"})

    report = merging.merge("one", check=("sh", "-c", f"exit {status}"))

    assert f"exit status {status}." in report.outcomes["one"].reason


@pytest.mark.parametrize("command", ["no-such-program", "./README.md"])
def test_a_check_that_cannot_be_started_says_so(merging: Merging, command: str) -> None:
    merging.member("one", {"a": "1"})

    report = merging.merge("one", check=(command,))

    assert any(why in report.outcomes["one"].reason for why in ("no such program", "may not be executed"))


def test_of_two_merges_that_are_made_at_once_the_second_is_to_be_made_again(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.member("two", {"b": "1"})
    made: list[MergeReport | PreparedMerge] = []
    threads = [
        threading.Thread(target=lambda name=name: made.append(merging.prepare(name, check=("sleep", "0.3"))))
        for name in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first, second = (each for each in made if isinstance(each, PreparedMerge))
    merging.move(first)
    with pytest.raises(WorkspaceError, match="meanwhile"):
        merging.move(second)
    assert merging.main() == first.report.commit
    assert merging.merge("one", "two").moved
    assert {path.name for path in merging.repository.iterdir()} >= {"a", "b"}
    assert merging.leftovers() == []


def test_only_what_is_checked_out_where_the_caller_may_work_is_moved(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    lead = merging.member("lead")

    with pytest.raises(RefusedError, match="not into main"):
        merging.merge("one", into="main", movable_trees=(lead,), movable_branches=frozenset({"lead"}))
    assert merging.merge("one", into=None, trees=(lead,), movable_trees=(lead,)).into == "lead"
    assert (lead / "a").exists()


def test_nobodys_files_change_while_it_works(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    lead = merging.member("lead")

    with pytest.raises(WrongStateError, match="mgr_1_2 is at work in"):
        merging.merge("one", into="lead", busy={lead: "mgr_1_2"})


def test_an_operation_that_is_under_way_where_the_target_is_checked_out_is_left_alone(merging: Merging) -> None:
    merging.member("one", {"README.md": "one\n"})
    merging.member("two", {"b": "1"})
    merging.project.commit("README.md", "main\n")
    subprocess.run(["git", "-C", str(merging.repository), "merge", "one"], capture_output=True, check=False)

    with pytest.raises(WrongStateError, match="A merge is under way"):
        merging.merge("two")

    assert (merging.repository / ".git/MERGE_HEAD").exists()


def test_a_branch_that_is_being_rebased_is_not_moved(merging: Merging) -> None:
    merging.member("one", {"README.md": "one\n"})
    lead = merging.member("lead", {"README.md": "lead\n"})
    merging.member("two", {"b": "1"})
    subprocess.run(["git", "-C", str(lead), "rebase", "one"], capture_output=True, check=False)

    with pytest.raises(WrongStateError, match="rebased"):
        merging.merge("two", into="lead")


def test_a_commit_on_no_branch_is_merged_too(merging: Merging) -> None:
    tree = merging.member("one", {"a": "1"})
    merging.project.git("switch", "-q", "--detach", at=tree)
    commit = merging.commit(tree, {"b": "1"})

    report = merging.merge(branches=(WorkBranch(name="one", branch=None, commit=commit),))

    assert report.outcomes["one"].state == "merged"
    assert commit in merging.project.git("log", "--format=%H", "main")


def test_a_merger_that_dies_in_a_check_leaves_the_target_and_the_next_one_finishes(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.member("two", {"b": "1"})
    signs = merging.project.base / "signs"
    signs.mkdir()
    before = merging.main()
    check = ("sh", "-c", f"touch {signs}/begun; exec sleep 600")
    command = [sys.executable, "-m", "tests.integration.git.doomed_merger", str(merging.project.base), *check]
    with subprocess.Popen(command, cwd=ROOT) as doomed:
        until((signs / "begun").exists, "the check")
        doomed.kill()
    (orphan,) = merging.worktrees.orphans(())

    assert merging.main() == before
    assert orphan.unfinished
    assert merging.worktrees.plan_removals([orphan]) != ()

    report = merging.merge("one", "two")

    assert set(states(report).values()) == {"merged"}
    assert merging.leftovers() == []


def test_what_a_killed_merge_has_left_is_cleared_away_by_gc_and_saves_nothing(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    merging.member("two", {"b": "1"})
    signs = merging.project.base / "signs"
    signs.mkdir()
    check = ("sh", "-c", f"test ! -e b || {{ touch {signs}/begun; exec sleep 30; }}")
    command = [sys.executable, "-m", "tests.integration.git.doomed_merger", str(merging.project.base), *check]
    with subprocess.Popen(command, cwd=ROOT) as doomed:
        until((signs / "begun").exists, "the second check")
        doomed.kill()
    (orphan,) = merging.worktrees.orphans(())

    removal = merging.worktrees.collect(orphan)

    assert (removal.removed, removal.saved_ref, removal.kept_reason) == (True, None, None)
    assert merging.leftovers() == []
    assert merging.project.git("for-each-ref", "refs/phalanx") == ""


def test_a_comparison_tells_the_work_of_each_and_who_would_conflict(merging: Merging) -> None:
    merging.member("one", {"README.md": "one\n", "a": "1"})
    two = merging.member("two", {"README.md": "two\n"})
    merging.commit(two, {"b": "1"})
    merging.member("idle")
    merging.project.commit("c")

    report = merging.compare("one", "two", "idle", "gone")

    assert report.bases == dict.fromkeys(("one", "two", "idle"), "main")
    assert {name: (work.ahead, work.behind, sorted(work.files)) for name, work in report.work.items()} == {
        "one": (1, 1, ["README.md", "a"]),
        "two": (2, 1, ["README.md", "b"]),
        "idle": (0, 1, []),
    }
    assert report.conflicts == (Conflict(one="one", other="two", files=("README.md",)),)


def test_a_comparison_of_what_was_compared_before_costs_one_git(merging: Merging) -> None:
    names = [f"member{number}" for number in range(6)]
    for name in names:
        merging.member(name, {"README.md": f"{name}\n"})
    gits = count_gits(merging.project)
    first = merging.compare(*names)
    begun = gits()

    again = merging.compare(*names)

    assert again == first
    assert gits() - begun == 1
    assert len(first.conflicts) == 15


def test_who_works_beside_another_is_not_compared_with_it(merging: Merging) -> None:
    for number in range(4):
        merging.member(f"member{number}", {f"src/file{number}": f"{number}\n"})
    merging.member("deep", {"src/a/b/c": "1\n"})
    merging.member("above", {"src/a": "1\n"})

    gits = count_gits(merging.project)
    report = merging.compare(*(f"member{number}" for number in range(4)))
    without_pairs = gits()
    again = merging.compare("deep", "above")

    assert (report.conflicts, [(each.one, each.other) for each in again.conflicts]) == ((), [("deep", "above")])
    assert without_pairs == 1 + 3 * 4  # the commits, and of each the counts, the base and the files


def test_whoever_has_no_base_is_compared_with_the_others_only(merging: Merging) -> None:
    merging.member("one", {"a": "1"})

    report = merging.compare("one", base=merging.project.base)

    assert (report.work, report.bases) == ({}, {})


def test_a_directory_that_is_not_ours_is_not_taken_for_a_merge(merging: Merging) -> None:
    merging.member("one", {"a": "1"})
    with merging.worktrees.temporary(merging.repository / ".git", 1.0) as place:
        target = place.directory
    target.mkdir()
    (target / "mine").write_text("x")

    with pytest.raises(PhalanxError, match="not of Phalanx"):
        merging.merge("one")

    assert (target / "mine").read_text() == "x"


def test_a_branch_that_is_named_as_a_commit_is_not_taken_for_it(merging: Merging) -> None:
    merging.member("one", {"one": "1\n"})
    merging.member("two", {"two": "2\n"})
    commit = merging.project.git("rev-parse", "one")
    merging.project.git("update-ref", f"refs/heads/{commit}", "two")

    merging.merge("one")

    assert merging.project.git("ls-tree", "--name-only", "main", "one", "two") == "one"


def test_the_tree_that_moves_is_told_and_touched_only_when_it_is_moved(merging: Merging) -> None:
    merging.member("one", {"one": "1\n"})
    before = merging.main()

    prepared = merging.prepare("one")

    assert isinstance(prepared, PreparedMerge)
    assert prepared.tree == merging.repository
    assert (merging.main(), (merging.repository / "one").exists()) == (before, False)
    merging.move(prepared)
    assert (merging.main(), (merging.repository / "one").exists()) == (prepared.report.commit, True)


def test_a_target_that_was_moved_or_checked_out_since_is_left_alone(merging: Merging) -> None:
    merging.member("one", {"one": "1\n"})
    merging.project.git("branch", "free")
    for into, disturbs in (
        ("main", ("commit", "-q", "--allow-empty", "-m", "x")),
        ("free", ("checkout", "-q", "free")),
    ):
        prepared = merging.prepare("one", into=into)
        assert isinstance(prepared, PreparedMerge)
        merging.project.git(*disturbs)
        before = merging.project.git("rev-parse", into)
        with pytest.raises(PhalanxError, match="meanwhile"):
            merging.move(prepared)
        assert merging.project.git("rev-parse", into) == before
