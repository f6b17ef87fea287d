"""Short commands beside a command server do what they would do by themselves, only sooner."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

import mcp_entry
from actors.home import Home, home_from
from actors.marks import INSTANCE_MARK
from mcp_entry.cli import command_call
from mcp_entry.launch import STOPPED
from supervisor.api.results import Result
from tests.fakes.gateway import REPLIES
from tests.integration.mcp_entry.gateway import team_that_answers

PHALANX = str(Path(sys.executable).with_name("phalanx"))
LIMIT_S = 30.0
# What is loaded where nobody else runs the command.
_HEAVY = "typer"
_WHEN_GUARDED = """
import signal
import mcp_entry.launch as launch
guard = signal.signal
signal.signal = lambda *given: (guard(*given), signal.__dict__.update(signal=guard), print(flush=True))[0]
launch.phalanx()
"""
_IMPORTS_TOLD = (sys.executable, "-X", "importtime", PHALANX)


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    output: str
    errors: str

    @property
    def loaded_by_itself(self) -> bool:
        """Whether the program itself has loaded the command line, as ``-X importtime`` tells."""
        return _HEAVY in self.errors


@dataclass(slots=True)
class Shell:
    """A shell whose ``PHALANX_HOME`` is that of a team."""

    home: Home
    calls: list[dict[str, Any]]
    variables: dict[str, str] = field(default_factory=dict)
    started: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PHALANX_HOME": str(self.home.root), **self.variables}

    @property
    def verbs(self) -> list[str]:
        return [each["verb"] for each in self.calls]

    async def start(self, *words: str, program: Iterable[str] = (PHALANX,)) -> asyncio.subprocess.Process:
        pipe = subprocess.PIPE
        self.started.append(
            await asyncio.create_subprocess_exec(
                *program, *words, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, cwd=self.home.root
            )
        )
        return self.started[-1]

    async def end(self) -> None:
        """Ends what a failed test has left running."""
        for process in self.started:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, *words: str, program: Iterable[str] = (PHALANX,), typed: bytes = b"") -> Said:
        process = await self.start(*words, program=program)
        output, errors = await asyncio.wait_for(process.communicate(typed), LIMIT_S)
        return Said(process.returncode or 0, output.decode(), errors.decode())

    async def runs_by_itself(self, *words: str) -> bool:
        return (await self.run(*words, program=_IMPORTS_TOLD)).loaded_by_itself

    async def is_served(self, *words: str) -> bool:
        """A machine with much load may need a few tries: nobody waits long for a server."""
        for _ in range(5):
            if not await self.runs_by_itself(*words):
                return True
        return False

    async def beside_a_server(self) -> psutil.Process:
        """Runs a first command. Returns the server that it leaves behind, when that takes commands."""
        await self.run("list")
        await until(self.home.command_socket.exists)
        return self.server()

    def server(self) -> psutil.Process:
        (server,) = servers_of(self.home)
        return server


def servers_of(home: Home) -> list[psutil.Process]:
    """Without their workers."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_server = any("mcp_entry.cli.command_server" in word for word in process.cmdline())
            if is_server and process.environ().get("PHALANX_HOME") == str(home.root):
                found.append(process)
    pids = {each.pid for each in found}
    return [each for each in found if each.ppid() not in pids]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # noqa: ASYNC110 - processes, no flag of ours
            await asyncio.sleep(0.01)


def answer(verb: str) -> dict[str, Any]:
    reply = REPLIES[verb]
    assert isinstance(reply, Result)
    return reply.model_dump(mode="json", by_alias=True)


@pytest.fixture
async def shell(short_tmp: Path) -> AsyncIterator[Shell]:
    answers = {verb: answer(verb) for verb in ("list", "send", "status")}
    home = Home(short_tmp / "home")
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # as it is in the background of a shell
    async with team_that_answers(home, answers) as calls:
        made = Shell(home, calls)
        yield made
        await made.end()
    signal.signal(signal.SIGINT, ignored)
    await until(lambda: not servers_of(home))


async def test_a_first_command_leaves_a_server_that_runs_the_next_with_the_same_words_and_status(shell: Shell) -> None:
    commands = (["list"], ["list", "--json"], ["send", "worker", "Go on."], ["list", "--what"], ["send"], ["status"])
    alone = []
    for each in commands:
        alone.append(await shell.run(*each))
        for server in servers_of(shell.home):
            server.kill()
        await until(lambda: not servers_of(shell.home))
        shell.home.command_socket.unlink(missing_ok=True)
    await shell.beside_a_server()
    assert [await shell.run(*each) for each in commands] == alone
    assert await shell.is_served("list")


async def test_a_served_command_has_the_caller_s_input_files_directory_and_environment(shell: Shell) -> None:
    await shell.beside_a_server()
    await shell.run("send", "worker", "-", typed="from a pipe, ü".encode())
    (shell.home.root / "text").write_text("from a file")
    await shell.run("send", "worker", "--file", "text")
    texts = [each["params"]["message"] for each in shell.calls if each["verb"] == "send"]
    assert texts == ["from a pipe, ü", "from a file"]
    widths = []
    for columns in ("60", "100"):
        shell.variables["COLUMNS"] = columns
        widths.append(max(map(len, (await shell.run("send", "--help")).output.splitlines())))
    assert widths[0] <= 60 < widths[1] <= 100


async def test_what_a_shell_asks_to_complete_is_answered_by_the_server_too(shell: Shell) -> None:
    await shell.beside_a_server()
    shell.variables.update(COMP_WORDS="phalanx send s", COMP_CWORD="2", _PHALANX_COMPLETE="complete_bash")
    assert await shell.is_served()
    assert (await shell.run()).output.split() == ["spec_1_1_2", "spec_1_1_1"]


async def test_ctrl_c_ends_a_served_command_with_its_words(shell: Shell) -> None:
    server = await shell.beside_a_server()
    waiting = await shell.start("wait", "worker")
    await until(lambda: "wait" in shell.verbs)
    waiting.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(waiting.communicate(), LIMIT_S)
    assert waiting.returncode == STOPPED
    assert b"Stopped waiting" in errors
    await until(lambda: not server.children())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
async def test_a_served_command_ends_with_its_caller_however_that_ends(shell: Shell, number: signal.Signals) -> None:
    server = await shell.beside_a_server()
    waiting = await shell.start("wait", "worker")
    await until(lambda: "wait" in shell.verbs)
    (worker,) = server.children()
    waiting.send_signal(number)
    assert await asyncio.wait_for(waiting.wait(), LIMIT_S) == -number
    await until(lambda: not worker.is_running())
    assert server.is_running()


async def test_a_caller_whose_worker_is_killed_says_so(shell: Shell) -> None:
    server = await shell.beside_a_server()
    waiting = await shell.start("wait", "worker")
    await until(lambda: "wait" in shell.verbs)
    server.children()[0].kill()
    _, errors = await asyncio.wait_for(waiting.communicate(), LIMIT_S)
    assert waiting.returncode == 1
    assert b"ended from outside" in errors


async def test_what_cannot_be_written_is_said_as_a_program_says_it(shell: Shell) -> None:
    full = ("bash", "-c", f"{PHALANX} list >/dev/full")
    alone = await shell.run(program=full)
    await shell.beside_a_server()
    served = await shell.run(program=full)
    assert served.status == alone.status != 0
    assert served.errors.splitlines()[-1] == alone.errors.splitlines()[-1]


@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL])
async def test_ctrl_z_stops_the_command_until_its_caller_goes_on_or_ends(shell: Shell, then: signal.Signals) -> None:
    server = await shell.beside_a_server()
    # The shell makes a job of it: a process whose group nobody controls cannot be stopped so.
    job = await shell.start(program=("bash", "-c", f"set -m; {PHALANX} wait worker & exec sleep {LIMIT_S:.0f}"))
    await until(lambda: "wait" in shell.verbs)
    (caller,), (worker,) = psutil.Process(job.pid).children(), server.children()
    caller.send_signal(signal.SIGTSTP)
    await until(lambda: caller.status() == worker.status() == psutil.STATUS_STOPPED)
    caller.send_signal(then)
    if then is signal.SIGCONT:
        await until(lambda: psutil.STATUS_STOPPED not in {caller.status(), worker.status()})
        caller.send_signal(signal.SIGINT)
    await until(lambda: not worker.is_running())
    job.kill()
    await job.communicate()


async def test_a_text_that_is_typed_is_read_by_the_caller_alone(shell: Shell) -> None:
    await shell.beside_a_server()
    here, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *_IMPORTS_TOLD, "send", "worker", "-", env=shell.environment, stdin=terminal, stderr=subprocess.PIPE
    )
    os.write(here, b"typed\n\x04")
    _, errors = await asyncio.wait_for(process.communicate(), LIMIT_S)
    os.close(here)
    os.close(terminal)
    assert _HEAVY.encode() in errors
    assert [each["params"]["message"] for each in shell.calls if each["verb"] == "send"] == ["typed\n"]


async def test_a_command_that_outlives_its_server_is_in_the_way_of_no_other(shell: Shell) -> None:
    server = await shell.beside_a_server()
    waiting = await shell.start("wait", "worker")
    await until(lambda: "wait" in shell.verbs)
    server.kill()
    await until(lambda: not server.is_running())
    shell.home.command_socket.unlink()
    await shell.run("list")
    await until(shell.home.command_socket.exists)
    assert await shell.is_served("list")
    waiting.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(waiting.wait(), LIMIT_S) == STOPPED


async def test_a_server_of_a_shell_that_ignores_signals_has_workers_that_do_not(shell: Shell) -> None:
    await shell.run(program=("bash", "-c", f"trap '' TERM HUP INT; {PHALANX} list"))
    await until(shell.home.command_socket.exists)
    waiting = await shell.start("wait", "worker")
    await until(lambda: "wait" in shell.verbs)
    (worker,) = shell.server().children()
    waiting.kill()
    await waiting.wait()
    await until(lambda: not worker.is_running())


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.04, 0.06, 0.08])
async def test_ctrl_c_at_any_moment_is_answered_as_by_itself(shell: Shell, after_s: float) -> None:
    await shell.beside_a_server()
    process = await shell.start(program=(sys.executable, "-c", _WHEN_GUARDED, "list"))
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), LIMIT_S)
    await asyncio.sleep(after_s)  # the moment is what the test is about
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)  # asyncio would take its exit status if it has just ended
    _, errors = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode in {0, STOPPED}
    assert errors in {b"", b"Stopped.\n"}


async def test_many_at_once_are_all_served_and_leave_one_server(shell: Shell) -> None:
    await asyncio.gather(*(shell.run("list") for _ in range(6)))
    await until(shell.home.command_socket.exists)
    shell.calls.clear()
    assert not all(await asyncio.gather(*(shell.runs_by_itself("list") for _ in range(20))))
    assert len(shell.calls) == 20
    assert len(servers_of(shell.home)) == 1


async def test_a_suspended_server_is_not_in_the_way_and_does_nothing_afterwards(shell: Shell) -> None:
    server = await shell.beside_a_server()
    shell.calls.clear()
    server.suspend()
    assert await shell.runs_by_itself("send", "worker", "Once.")
    server.resume()
    assert await shell.is_served("list")
    assert shell.verbs.count("send") == 1


async def test_it_ends_with_the_supervisor(short_tmp: Path) -> None:
    home = Home(short_tmp / "home")
    async with team_that_answers(home, {"list": answer("list")}) as calls:
        server = await Shell(home, calls).beside_a_server()
    await until(lambda: not server.is_running())
    assert not home.command_socket.exists()


async def test_it_ends_when_nobody_has_run_a_command_for_long(shell: Shell) -> None:
    serve = "import sys, time; from pathlib import Path; from actors.home import Home\n"
    serve += "from mcp_entry.cli.command_server import serve\n"
    serve += "serve(Home(Path(sys.argv[1])), 0, time.time_ns(), idle_s=0.3)"
    serving = await shell.start("-c", serve, str(shell.home.root), program=(sys.executable,))
    assert await asyncio.wait_for(serving.wait(), LIMIT_S) == 0
    assert not shell.home.command_socket.exists()


async def test_after_an_upgrade_nobody_gets_the_older_version(shell: Shell) -> None:
    server = await shell.beside_a_server()
    file = Path(mcp_entry.__file__)
    before = file.stat()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as one with the same times, moved here
    assert await shell.runs_by_itself("list")
    await until(lambda: not server.is_running())


async def test_a_program_that_treats_text_in_another_way_runs_by_itself(shell: Shell) -> None:
    await shell.beside_a_server()
    shell.variables["PYTHONIOENCODING"] = "latin-1"
    assert await shell.runs_by_itself("list")


async def test_a_file_that_only_the_caller_has_is_read_by_the_caller(shell: Shell) -> None:
    await shell.beside_a_server()
    substituted = f"{PHALANX} send worker --file <(echo from a substitution)"
    process = await asyncio.create_subprocess_exec("bash", "-c", substituted, env=shell.environment)
    await asyncio.wait_for(process.wait(), LIMIT_S)
    (sent,) = [each["params"]["message"] for each in shell.calls if each["verb"] == "send"]
    assert sent.strip() == "from a substitution"


async def test_where_phalanx_cannot_start_only_the_reason_is_said(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors/__init__.py").touch()
    shell.variables["PYTHONPATH"] = str(tmp_path)
    said = await shell.run("list")
    assert said.errors.startswith("Phalanx cannot start: ")
    assert len(said.errors.splitlines()) == 1


async def test_one_with_another_limit_runs_by_itself(shell: Shell) -> None:
    await shell.beside_a_server()
    limited = f"ulimit -n 200; {' '.join(_IMPORTS_TOLD)} list"
    assert (await shell.run(program=("bash", "-c", limited))).loaded_by_itself


@pytest.mark.parametrize("words", [["--version"], ["list", "--help"]])
async def test_where_no_team_runs_nothing_is_left_behind(short_tmp: Path, words: list[str]) -> None:
    shell = Shell(Home(short_tmp / "home"), [])
    shell.home.root.mkdir()
    await shell.run(*words)
    assert list(shell.home.root.iterdir()) == []


async def test_what_an_instance_starts_leaves_no_server(shell: Shell) -> None:
    shell.variables[INSTANCE_MARK] = "/somewhere"
    await shell.run("list")
    assert servers_of(shell.home) == []


@pytest.mark.parametrize("given", ["", "/srv/team", "team", "~/team", "~", "/srv/../team/"])
def test_both_halves_mean_the_same_home(given: str) -> None:
    environment = {"HOME": os.environ["HOME"], "PHALANX_HOME": given}
    assert command_call._socket_path(environment) == str(home_from(environment).command_socket)
