"""The guide's table of git operations: our batches against GitPython, which runs one git after another.

Each has a repository of its own, made alike, and they run in turn. In a third repository only the necessary gits run,
which is the floor. After each batch plain git checks the answers and the writes.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from git import Repo

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.git_work import WORKS, Bare, Site, Work
from scripts.benchmarks.section import Part, Plot, Section
from supervisor.api.requests import GitBatchRequest, GitOperation
from supervisor.api.results import GitBatchResult, GitOutcome
from supervisor.rpc.client import SupervisorClient
from tests.projects import git

_ROUNDS = 10
_SETTLED_S = 0.1
"""An answer is kept once nothing has changed for a moment."""
_JUDGED = ("less time", "aim", "guide", "cached")
_Sites = tuple[Site, Site, Site]
"""For our batches, for GitPython, and for the gits alone."""
_GUIDE = {"20 status of one project": 75, "50 branch": 60, "100 mixed": 67}
_WORDS = """
GitPython has its `Repo` objects made beforehand and runs one git after another. A batch goes from the client through
the supervisor to the host and back, with the default cap of three gits at once. *just changed*: a file has changed, so
git must run. *ten members*: ten working trees, each asked twice. *100 mixed*: in each of five working trees ten
statuses, four logs, four new branches, a list of branches and a commit, as when several ask for the same members;
*hardly two alike*: in each of ten four statuses, two logs, a diff, a list, a new branch and a commit. *less time* is
the median of the rounds, pair by pair.

What bounds it: *the gits alone* are the same gits without which the batch cannot be done, started one after another by
a bare program. A batch runs them with two cores, but what writes in a repository one at a time: of *100 mixed* a status
must run before and after each commit, and a commit is two gits (add, commit), so ten gits stand in one line. Equal
questions share one git, so of twenty equal ones that need one at most 95 % can go; different questions that were never
asked before gain by the second core only. A kept answer needs no git, only a call of the host and a look at refs, index
and configuration there, and of a status at the metadata of all files, beside the way from the client and back. A batch
that writes is stored before its first write, which costs one sync of the disk. Fifty branches are one transaction of
git, and a hundred new files (each branch and its log) whoever makes them: ext4 looks through all files of the
neighbourhood that were deleted in the last minutes whenever it makes one, so after much has been deleted on the disk
this git alone takes 10 to 30 ms instead of 5, and then the aim cannot be met by anybody.
"""


@dataclass(slots=True)
class _Found:
    ours_ms: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    gits: int = 0
    theirs_ms: list[float] = field(default_factory=list)
    cached: int = 0

    @property
    def less(self) -> float:
        """Per cent."""
        pairs = zip(self.ours_ms, self.theirs_ms, strict=True)
        return 100 * (1 - statistics.median(ours / theirs for ours, theirs in pairs))


class _OneByOne:
    """The same operations with GitPython."""

    def __init__(self, site: Site) -> None:
        self._repos = {str(tree): Repo(tree) for tree in (site.repository, *site.trees)}

    def run(self, operations: Sequence[GitOperation]) -> None:
        for each in operations:
            self._run(self._repos[each.workspace_dir], each)

    def _run(self, repo: Repo, asked: GitOperation) -> None:
        match asked.type, asked.params:
            case "status", _:
                repo.git.status("--porcelain=v2", "--branch")
            case "log", _:
                repo.git.log("--max-count=20", "--format=%H %P %an %ae %aI %s")
            case "diff", _:
                repo.git.diff()
            case "branch", {"branchName": name}:
                repo.git.branch(name)
            case "branch", _:
                repo.git.branch("--verbose")
            case "commit", {"message": message}:
                repo.git.add("--all")
                repo.git.commit("--message", message)
            case _:
                raise ValueError(f"{asked.type} is not measured")


async def _measure(bench: Bench) -> Section:
    with bench.scratch() as directory:
        ours, theirs, alone = (Site.make(directory / name) for name in ("ours", "theirs", "alone"))
        one_by_one = _OneByOne(theirs)
        async with bench.team(PHALANX_AGENT="demo") as team, await team.connect() as client:
            found = {}
            for work in WORKS:
                bench.say(work.what)
                found[work.what] = await _rounds(client, work, (ours, theirs, alone), one_by_one)
    return _section(found)


async def _rounds(client: SupervisorClient, work: Work, sites: _Sites, one_by_one: _OneByOne) -> _Found:
    found = _Found()
    ours, theirs, alone = sites
    for number in range(_ROUNDS + 1):
        _change(work, sites, number)
        operations = work.operations(theirs, number)
        begun = time.perf_counter()
        await asyncio.to_thread(one_by_one.run, operations)
        theirs_ms = (time.perf_counter() - begun) * 1000

        operations = work.operations(ours, number)
        request = GitBatchRequest(operations=list(operations))
        begun = time.perf_counter()
        result = await client.git_batch(request)
        ours_ms = (time.perf_counter() - begun) * 1000
        _check(operations, result)

        gits = work.gits(alone, number)
        bare_ms = await asyncio.to_thread(_run_alone, gits)
        if number:  # the first round fills what either side keeps
            found.theirs_ms.append(theirs_ms)
            found.ours_ms.append(ours_ms)
            found.bare_ms.append(bare_ms)
            found.gits = len(gits)
            found.cached += result.performance.cache_hits
    return found


def _run_alone(gits: Sequence[Bare]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    for each in gits:
        subprocess.run(
            ["git", "-C", each.directory, *each.words],
            input=each.stdin.encode(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return (time.perf_counter() - begun) * 1000


def _change(work: Work, sites: Sequence[Site], number: int) -> None:
    for site in sites:
        for tree in work.changed(site):
            (tree / "d1/f1").write_text(f"{work.what}, round {number}\n")
    if not work.changed(sites[0]):
        time.sleep(_SETTLED_S)


def _check(operations: Sequence[GitOperation], result: GitBatchResult) -> None:
    """Raises ``RuntimeError`` unless all was done and the last status of each working tree is what git says now."""
    failed = [outcome.error for outcome in result.results if not outcome.success]
    if failed:
        raise RuntimeError(f"{len(failed)} operations failed: {failed[0]}")
    statuses = {outcome.workspace_dir: outcome for outcome in result.results if outcome.type == "status"}
    for outcome in statuses.values():
        _check_status(outcome)
    made = [each for each in operations if "branchName" in each.params]
    if made:
        there = set(git(Path(made[0].workspace_dir), "branch", "--format=%(refname:short)").split())
        missing = {each.params["branchName"] for each in made} - there
        if missing:
            raise RuntimeError(f"{len(missing)} branches are not there")


def _check_status(outcome: GitOutcome) -> None:
    tree = Path(outcome.workspace_dir)
    told = outcome.result or {}
    listed = git(tree, "status", "--porcelain", "--untracked-files=all").splitlines()
    changed = [line.strip().partition(" ")[2].strip() for line in listed]
    if [*told["staged"], *told["unstaged"], *told["untracked"]] != changed:
        raise RuntimeError(f"a status is stale: {told} while git says {listed}")
    if told["commit"] != git(tree, "rev-parse", "HEAD"):
        raise RuntimeError("a status tells an old commit")


def _section(found: Mapping[str, _Found]) -> Section:
    rows = [_row(work, found[work.what]) for work in WORKS]
    samples = {f"{what}, batch": each.ours_ms for what, each in found.items()}
    samples |= {f"{what}, one by one": each.theirs_ms for what, each in found.items()}
    return Section(
        columns=(
            "operations",
            "GitPython, one by one",
            "batch",
            "less time",
            "aim",
            "guide",
            "cached",
            "the gits alone",
        ),
        rows=rows,
        words=_WORDS,
        samples=samples,
        plots=[
            Plot(
                title="Git operations",
                unit="ms",
                labels=list(found),
                series={
                    "GitPython, one by one": [statistics.median(each.theirs_ms) for each in found.values()],
                    "batch": [statistics.median(each.ours_ms) for each in found.values()],
                },
                logarithmic=True,
            )
        ],
    )


def _row(work: Work, found: _Found) -> tuple[str, ...]:
    guide = _GUIDE.get(work.what)
    return (
        work.what,
        f"{statistics.median(found.theirs_ms):.0f} ms",
        f"{statistics.median(found.ours_ms):.1f} ms",
        f"{found.less:.1f} %",
        f"≥ {work.aim} %" if work.aim else "",
        f"{guide} %" if guide else "",
        f"{found.cached / len(found.ours_ms):.0f}",
        f"{found.gits}: {statistics.median(found.bare_ms):.1f} ms" if found.gits else "none",
    )


PART = Part(name="git", title="The guide's table of git operations", measure=_measure)
