"""One run of a command: its home, its answers, and its faults in the words that were typed.

One run of a command: which home, how to answer, and how refusals end it.

``CommandContext`` is everything outside the process that a command touches; tests put another one in its place.
``session`` turns every ``PhalanxError`` into a message on stderr and exit code 1.

Wrong usage in the words of the house: typer hands on what its parser of values says to programmers.

What a person has typed for an argument of a verb: an option or a place on the command line.

``session`` tells faults with it, and what the team refuses, which it says in the words of the tools. An argument that
is not here is one that a person has given by its own name (the operations of ``phalanx git``).
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, Protocol

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from actors.errors import InvalidRequestError, PhalanxError, to_wire
from actors.home import Home
from mcp_entry.cli.output import Output
from supervisor.api.faults import tell_value
from supervisor.api.results import Result
from supervisor.api.validation import parse
from supervisor.api.verbs import VERBS, ProgressCallback
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime import DownReport, OnStep, Runtime, TeamAddress, TeamState
from supervisor.settings import HOME_VARIABLE, Settings, home_from


class Commands(TyperGroup):
    """The commands; a value that is none of its option or argument ends one as before, with 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = tell_value(error.__cause__)
            raise


_EVERYWHERE: Mapping[str, str] = {
    "agent": "--agent",
    "cacheSize": "--cache-size",
    "cacheTTL": "--cache-ttl",
    "context": "the text",
    "cursor": "--cursor",
    "env": "--env",
    "full": "--full",
    "host": "--host",
    "instanceId": "ID",
    "instanceIds": "ID",
    "labels": "--label",
    "lines": "--lines",
    "maxConcurrentGitOps": "--git-ops",
    "maxConcurrentSpawns": "--spawns",
    "message": "the text",
    "messageBatchDelay": "--batch-delay",
    "messageBatchSize": "--batch-size",
    "model": "--model",
    "name": "--name",
    "parentId": "--parent",
    "permissionId": "--permission",
    "prewarmInstances": "--prewarm",
    "timeoutSeconds": "--timeout",
    "windowSeconds": "--window",
    "workDir": "--dir",
    "worktreePoolSize": "--worktrees",
    "worktrees": "--worktrees",
}
_OF_ONE_VERB: Mapping[str, Mapping[str, str]] = {
    "drain": {"host": "HOST"},
    "git_batch": {},
    "prewarm_resources": {**_EVERYWHERE, "instances": "INSTANCES"},
    "respond": {**_EVERYWHERE, "message": "--message"},
}


_PHRASES = (
    (re.compile(r"\bCall list to see (the team|who does)\b"), r"`phalanx list` shows \1"),
    (re.compile(r"\bCall list and look at it first\b"), "Look at it with `phalanx list` first"),
)
_ARGUMENTS = re.compile(
    rf"(?<![\w/.'\"-])({'|'.join(name for name in _EVERYWHERE if name != name.lower())})(?![\w/'\"-])"
)
"""Names that are no words of any language, where they stand free: a path or a quoted text may hold them as well."""


def spoken(refusal: str) -> str:
    """What the team says to leads, in the words of the command line."""
    for pattern, said in _PHRASES:
        refusal = pattern.sub(said, refusal)
    return _ARGUMENTS.sub(lambda found: _EVERYWHERE[found[1]], refusal)


def typed_words(verb: str) -> Mapping[str, str]:
    """By the names of the verb's arguments."""
    return _OF_ONE_VERB.get(verb, _EVERYWHERE)


SENDER = "operator"
PROGRAM_LIMIT_S = 60.0
WRONG_USAGE = 2
STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""
_LEFT = {
    "spawn": "Stopped waiting; the instance may start all the same. `phalanx list` shows it, `phalanx terminate ID` "
    "ends it.",
    "resume": "Stopped waiting; those that have begun start all the same. `phalanx list` shows them, `phalanx "
    "terminate ID` ends one.",
}

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The team's directory; default: PHALANX_HOME, else ~/.phalanx.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables and texts.")]


class TeamRuntime(Protocol):
    """``Runtime``, as far as the command needs it. Raises ``PhalanxError``."""

    def up(self, environment: Mapping[str, str], on_step: OnStep) -> TeamAddress: ...
    def down(self, on_step: OnStep) -> DownReport: ...
    def state(self) -> TeamState: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """The command's surroundings."""

    environment: Mapping[str, str]
    connect: Callable[[Home], Awaitable[SupervisorClient]]
    """Raises ``TeamNotRunningError`` when no team runs in the home."""
    runtime: Callable[[Home, Settings], TeamRuntime]
    """What brings the team of a home up and down."""
    run: Callable[[Sequence[str], Mapping[str, str]], subprocess.CompletedProcess[str]]
    """Runs a program to its end, with no input. Raises ``OSError`` and ``subprocess.TimeoutExpired``."""
    become: Callable[[list[str], Mapping[str, str]], NoReturn]
    """Replaces this process by a program."""
    is_terminal: Callable[[], bool]
    """Whether a person sits before stdin and stdout."""


def real_world() -> CommandContext:
    return CommandContext(
        environment=os.environ, connect=_connect, runtime=Runtime, run=_run, become=_become, is_terminal=_is_terminal
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CliSession:
    world: CommandContext
    home: Home
    output: Output

    def ask(self, verb: str, arguments: Mapping[str, Any], what: str) -> Result:
        """Runs one verb of the supervisor; shows ``what`` while it runs. Raises ``PhalanxError``."""
        given = {name: value for name, value in arguments.items() if value is not None}
        request = parse(VERBS[verb].request, given, typed_words(verb))

        notes: list[str] = []

        async def call(on_progress: ProgressCallback) -> Result:
            client = await self.world.connect(self.home)
            try:
                return await client.call(VERBS[verb], request, on_progress)
            finally:
                notes.append(client.version_note)
                await client.close()

        with self.if_stopped(_left_at(verb)), self.output.telling_progress(what) as on_progress:
            result = asyncio.run(call(on_progress))
        for note in filter(None, notes):
            self.output.say(note, "yellow")
        return result

    @contextmanager
    def if_stopped(self, words: str) -> Iterator[None]:
        """Ctrl-C in the block ends the command with these words."""
        try:
            yield
        except KeyboardInterrupt:
            self.output.say(words)
            raise typer.Exit(STOPPED) from None


@contextmanager
def session(context: typer.Context, home: Path | None, as_json: bool) -> Iterator[CliSession]:
    """What a command does, it does in here."""
    world: CommandContext = context.obj
    output = Output.to(sys.stdout, sys.stderr, as_json=as_json)
    try:
        named = {HOME_VARIABLE: str(home)} if home else {}
        yield CliSession(world=world, home=home_from({**world.environment, **named}), output=output)
    except PhalanxError as error:
        said = spoken(str(error))
        if as_json:
            output.show({"error": {**to_wire(error), "message": said}}, "")
        output.say(said, "red")
        usage = type(error) is InvalidRequestError  # those derived from it say what is the matter with the team
        raise typer.Exit(WRONG_USAGE if usage else 1) from None


def _left_at(verb: str) -> str:
    """What becomes of a call whose caller has gone away. The team undoes only what it has not begun."""
    if VERBS[verb].looks:
        return "Stopped."
    return _LEFT.get(verb, "Stopped waiting; the team may do it all the same. `phalanx list` shows what became of it.")


async def _connect(home: Home) -> SupervisorClient:
    return await SupervisorClient.connect(home, SENDER)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PROGRAM_LIMIT_S,
        check=False,
    )


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(command[0], command, environment)  # noqa: S606 - the terminal becomes the program's


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
