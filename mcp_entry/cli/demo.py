"""``phalanx demo``: a team at work on a sample repository, from an empty home to a clean end.

Every check that it prints was made in this run. It exits with 1 when a check fails, and always brings the team down.
All that it makes is below one temporary directory, which stays only when the team could not be brought down. A
checkout's ``scripts/demo`` also shows the real Claude Code without an account, against a stand-in of the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.errors import AgentError, PhalanxError
from actors.home import Home
from actors.marks import TEAM_MARK
from actors.messages import MessageStatus
from actors.processes import is_running, name_of, processes_with
from mcp_entry.cli.doctor import claude_config
from mcp_entry.cli.output import plain, visible
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.api.results import InstanceInfo, SpawnOutcome
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime import Runtime
from supervisor.settings import Settings, setting_variables
from supervisor.team.file import TeamInfo, read_team

CLAUDE_COMMAND = "PHALANX_CLAUDE_COMMAND"
_OF_ANOTHER_TEAM = ("PHALANX_", "REDIS_", "RAY_")
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_IDLE_S = 90.0
"""Longest wait for idle instances. A demo agent is idle within a second, a Claude with the stand-in within a few."""
IDLE_WITH_AN_ACCOUNT_S = 300.0
_MOST = 20
_GIT_S = 30.0


class _Console(Console):
    """Falls silent when its terminal is closed or nobody reads its pipe: the team must be put away then too."""

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:
            self.quiet = True

    def on_broken_pipe(self) -> None:
        self.quiet = True


console = _Console(highlight=False, markup=False, emoji=False)


class DemoFailed(Exception):  # noqa: N818 - it ends the demo and is not handled
    """A check of the demo failed."""


class TeamLeft(Exception):  # noqa: N818 - it ends the demo and is not handled
    """The team was not brought down, or processes of it are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """The options of a run. ``idle_s``: longest wait until all instances are idle."""

    agent: Literal["demo", "claude"]
    size: int
    idle_s: float = _IDLE_S


def demo(
    agent: Annotated[
        Literal["demo", "claude"], typer.Option(help="claude: the real Claude Code, with your account.")
    ] = "demo",
    size: Annotated[int, typer.Option(min=1, max=_MOST, help="Number of instances.")] = 4,
) -> None:
    """Show a team at work in a temporary home, on a sample repository. Needs no account."""
    environment = own_variables(os.environ)
    try:
        idle_s = _IDLE_S if agent == "demo" else _with_account(environment)
    except AgentError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    raise typer.Exit(play(Play(agent=agent, size=size, idle_s=idle_s), environment))


def _with_account(environment: Mapping[str, str]) -> float:
    """Says which account is used; the longest wait until all are idle. Raises ``AgentError`` when there is none."""
    words = account(environment)
    if not words:
        raise AgentError(
            "No account of Claude Code was found. Run `claude` once and log in, or see a team of demo agents: "
            "`phalanx demo`."
        )
    console.print(f"Claude Code works with your own account ({words}).")
    return IDLE_WITH_AN_ACCOUNT_S


def account(environment: Mapping[str, str]) -> str:
    """Where the login is with which Claude Code starts without a question; empty when there is none."""
    config = claude_config(environment)
    return config.login if config.onboarded else ""


def own_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without those of the user's own team: its home, Redis, Ray and settings."""
    settings = setting_variables() - {CLAUDE_COMMAND}
    return {
        name: value
        for name, value in environment.items()
        if name == CLAUDE_COMMAND or not (name in settings or name.startswith(_OF_ANOTHER_TEAM))
    }


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise DemoFailed(what)
    console.print(Text.assemble("  ", ("✓", "green"), " ", visible(what)))


def task_for(agent: str, number: int) -> str:
    """A task that ends with a commit, in the form that the agent understands."""
    file = f"part_{number}.md"
    if agent == "demo":
        return f"Write {file}.\n@@demo commit {file} written by member {number}"
    command = f"echo 'written by member {number}' > {file} && git add {file} && git commit -q -m 'Add {file}'"
    # The directive is for the stand-in; to a real model it is a hint.
    directive = json.dumps({"command": command, "description": f"Add {file}"})
    return f"Write the file {file} with one line of text and commit it. One way:\n@@tool Bash {directive}"


async def lead(home: Home, repository: Path, play: Play) -> None:
    async with await SupervisorClient.connect(home, sender="lead") as client:
        members = await spawn(client, repository, play)
        await send(client, members, play)
        await work(client, members, play)
        await read(client, members)
        merge(repository, members)
        await terminate(client, members)


async def spawn(client: SupervisorClient, repository: Path, play: Play) -> list[SpawnOutcome]:
    console.rule("spawn_batch")
    request = requests.SpawnBatchRequest(
        instances=[
            requests.SpawnRequest(
                role=Role.SPECIALIST,
                work_dir=str(repository),
                context=f"You are member {number}. Say hello.",
                agent="claude" if play.agent == "claude" else "demo",
                # Explicit, because the default differs between versions and the demo shows permission requests.
                permission_mode="default",
            )
            for number in range(1, play.size + 1)
        ]
    )
    batch = await client.spawn_batch(request)
    table = Table("instance", "branch", "working directory")
    for member in batch.instances:
        table.add_row(member.instance_id, member.branch, member.working_directory)
    console.print(table)
    failed = next((f": {each.error.message}" for each in batch.instances if each.error), "")
    started = f"{play.size} instances run; each has its first message ({batch.performance.duration:.0f} ms)"
    expect(batch.success, started if batch.success else f"not every instance started{failed}")
    return batch.instances


def id_of(member: SpawnOutcome) -> str:
    return member.instance_id or ""


async def send(client: SupervisorClient, members: list[SpawnOutcome], play: Play) -> None:
    console.rule("send_batch")
    await wait(client, members, play)
    messages = [
        requests.BatchMessage(instance_id=id_of(member), message=f"note {number}: nothing to do, only $(echo) `text`")
        for member in members
        for number in range(1, 6)
    ]
    sent = await client.send_batch(requests.SendBatchRequest(messages=messages, wait=True))
    proved = sum(result.status is MessageStatus.SUBMITTED for result in sent.results)
    expect(proved == len(messages), f"{proved} of {len(messages)} messages proved in the conversations")
    console.print(f"    {sent.performance.avg_batch_size} messages per turn")


async def work(client: SupervisorClient, members: list[SpawnOutcome], play: Play) -> None:
    console.rule("work")
    await wait(client, members, play)
    messages = [
        requests.BatchMessage(instance_id=id_of(member), message=task_for(play.agent, number), immediate=True)
        for number, member in enumerate(members, 1)
    ]
    await client.send_batch(requests.SendBatchRequest(messages=messages, wait=True))
    for _ in range(10 * len(members)):
        state = await wait(client, members, play)
        asking = [(info.instance_id, info.permission) for info in state if info.permission]
        if not asking:
            break
        for instance_id, asked in asking:
            console.print(plain(f"    {instance_id} asks to use {asked.tool}: allowed"))
            allow = requests.RespondRequest(
                instance_id=instance_id, permission_id=asked.permission_id, decision="allow"
            )
            await client.respond(allow)
    expect(not asking, "every task is done")


async def wait(client: SupervisorClient, members: list[SpawnOutcome], play: Play) -> list[InstanceInfo]:
    ids = [id_of(member) for member in members]
    waited = await client.wait(requests.WaitRequest(instance_ids=ids, until="idle", timeout_seconds=play.idle_s))
    if waited.others:
        states = ", ".join(f"{each.instance_id} is {each.status}{because(each)}" for each in waited.instances)
        why = waited.reason or f"not within {play.idle_s:.0f} s"
        raise DemoFailed(f"the team did not become idle ({why}): {states}")
    return waited.instances


def because(instance: InstanceInfo) -> str:
    return f" ({instance.reason})" if instance.reason else ""


async def read(client: SupervisorClient, members: list[SpawnOutcome]) -> None:
    console.rule("read")
    for member in members:
        page = await client.read(requests.ReadRequest(instance_id=id_of(member), lines=200))
        answers = [entry.text for entry in page.entries if entry.kind == "answer"]
        expect(bool(answers), f"{member.instance_id} answered: {answers[-1].splitlines()[0][:80] if answers else ''}")


def merge(repository: Path, members: list[SpawnOutcome]) -> None:
    console.rule("merge")
    for member in members:
        before = _git(repository, "rev-parse", "main")
        _git(repository, "merge", "-q", "--no-edit", member.branch or "")
        brought = len(_git(repository, "rev-list", "--no-merges", f"{before}..main").splitlines())
        expect(brought >= 1, f"{member.branch} is merged into main of the sample repository (commits: {brought})")


async def terminate(client: SupervisorClient, members: list[SpawnOutcome]) -> None:
    console.rule("terminate")
    for member in members:
        done = await client.terminate(requests.TerminateRequest(instance_id=id_of(member)))
        expect(
            done.success and done.terminated[0].workspace_removed, f"{member.instance_id} stopped, its worktree gone"
        )


def expect_nothing_left(scratch: Path, team: TeamInfo | None) -> None:
    """Searches by the team's mark and by the home's path, and does not trust the report of ``down``."""
    marked = set(processes_with(TEAM_MARK, team.team_id)) if team else set()
    left = {process for process in marked | working_below(scratch) if is_running(process)}
    names = ", ".join(f"{process.pid} ({name_of(process)})" for process in left)
    expect(not left, f"processes of the team are left: {names}" if left else "no process of the team is left")


def working_below(directory: Path) -> set[psutil.Process]:
    """The processes whose working directory or command line is below ``directory``."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"{directory}/" in " ".join([*process.cmdline(), f"{process.cwd()}/"]):
                found.add(process)
    return found - {psutil.Process()}


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Lets the cleanup finish when Ctrl-C is pressed again or another signal comes."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ended_as_by_ctrl_c(told: list[int]) -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into a KeyboardInterrupt, so that they clean up too. ``told`` gets their numbers."""

    def end(number: int, _frame: object) -> None:
        told.append(number)
        signal.raise_signal(signal.SIGINT)

    others = [each for each in _ENDS if each != signal.SIGINT and signal.getsignal(each) != signal.SIG_IGN]
    before: dict[int, Any] = {number: signal.signal(number, end) for number in others}
    # A shell starts background jobs with SIGINT ignored, which would also ignore what ``end`` raises.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _git(repository: Path, *words: str) -> str:
    command = ["git", "-C", str(repository), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_GIT_S).stdout.strip()


def make_repository(directory: Path) -> Path:
    directory.mkdir()
    _git(directory, "init", "-q", "-b", "main")
    _git(directory, "config", "user.name", "Phalanx demo")
    _git(directory, "config", "user.email", "demo@example.invalid")
    (directory / "README.md").write_text("# A sample project\n")
    _git(directory, "add", ".")
    _git(directory, "commit", "-q", "-m", "Start")
    return directory


def _program() -> str:
    return "phalanx" if shutil.which("phalanx") else str(Path(sys.executable).with_name("phalanx"))


def _next_steps() -> str:
    program = _program()
    without_an_account = (
        f"  PHALANX_AGENT=demo {program} up    brings up a team of demo agents that stays\n"
        f"  {program} spawn hello       starts one in it, in a git repository\n"
        f"  {program} top               shows the team here, and {program} dashboard in your browser\n"
        f"  {program} attach NAME       goes into the terminal of one; Ctrl-b d comes back\n"
        f"  {program} down              ends all of it\n"
    )
    return (
        f"Next, without an account:\n{without_an_account}"
        f"With your Claude:\n  {program} doctor            looks at this machine\n"
        f"  {program} mcp add           lets your Claude lead a team\n"
        f"  {program} lead              starts a Claude that leads one, here"
    )


def play(play: Play, environment: Mapping[str, str]) -> int:
    """The exit status. ``environment``: of the team, without what belongs to another one."""
    told: list[int] = []
    with ended_as_by_ctrl_c(told):
        return _play(play, environment, told)


def _play(play: Play, environment: Mapping[str, str], told: list[int]) -> int:
    scratch = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    home = Home(scratch / "home")
    own = {**environment, "PHALANX_HOME": str(home.root)}
    try:
        runtime = Runtime(home, Settings.load(home, own))
    except PhalanxError as error:
        scratch.rmdir()
        return _failed(error)
    try:
        with _put_away_after(runtime, home, scratch):
            code = _run(runtime, home, scratch, play, own)
    except TeamLeft as left:
        _failed(left)
        down = f"{_program()} down --home {home.root}"
        words = f"The team may not be down, so its home is kept: `{down}` ends it. Then remove {scratch}."
        console.print(words, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"Stopped by you. The team is down, {scratch} is removed.")
        return 128 + (told or [signal.SIGINT])[0]
    if code != 0:
        console.print("The team is down. `phalanx demo` tries again; `phalanx doctor` looks for what is wrong.")
        return code
    console.print("All of this happened, and nothing of it is left.", style="bold green")
    console.print(_next_steps())
    return 0


def _run(runtime: Runtime, home: Home, scratch: Path, play: Play, environment: Mapping[str, str]) -> int:
    """The exit status. What fails is said at once, before the team is put away."""
    try:
        console.rule(f"up ({home.root})")
        runtime.up(environment, lambda step: console.print(f"  {step}"))
        asyncio.run(lead(home, make_repository(scratch / "project"), play))
    except (DemoFailed, PhalanxError) as failure:
        return _failed(failure)
    return 0


def _failed(failure: Exception) -> int:
    console.print(plain(f"✗ {failure}", "red"))
    return 1


@contextlib.contextmanager
def _put_away_after(runtime: Runtime, home: Home, scratch: Path) -> Iterator[None]:
    """Brings the team down after the block and removes ``scratch``. Raises ``TeamLeft`` when something of the team may
    be left; then ``scratch`` is kept, because ``phalanx down`` needs the home in it."""
    try:
        yield
    finally:
        with signals_ignored():
            console.rule("down")
            try:
                team = read_team(home)
                runtime.down(lambda step: console.print(f"  {step}"))
                expect_nothing_left(scratch, team)
            except (DemoFailed, PhalanxError, OSError) as failure:
                raise TeamLeft(str(failure)) from failure
            shutil.rmtree(scratch, ignore_errors=True)
