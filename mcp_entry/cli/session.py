"""One run of a command: its home, its answers, and its faults in the words that were typed.

``CommandContext`` is everything outside the process that a command touches; tests put another one in its place. A
command does what it does in a ``session``, which turns every ``PhalanxError`` into a message on stderr and an exit
code. ``CliSession.ask`` gives a request the options and arguments that are named as its fields. Faults name them as a
person has typed them: ``--parent`` for ``parentId``.
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
from rich.console import RenderableType
from typer.core import TyperGroup

from actors.errors import InvalidRequestError, PhalanxError, to_wire
from actors.home import Home
from mcp_entry.cli.output import Output, plain
from supervisor.api.results import Result
from supervisor.api.validation import parse, value_fault
from supervisor.api.verbs import VERBS, ProgressCallback, RequestT, ResultT, Verb
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
                error.message = value_fault(error.__cause__)
            raise


_ARGUMENTS = {name: field.alias or name for verb in VERBS.values() for name, field in verb.request.model_fields.items()}
"""Of the verbs: what the tools call an argument, by the name of its field."""
_PHRASES = (
    (re.compile(r"\bCall list to see (the team|who does)\b"), r"`phalanx list` shows \1"),
    (re.compile(r"\bCall list and look at it first\b"), "Look at it with `phalanx list` first"),
)


def _typed_words(command: typer.Context) -> Mapping[str, str]:
    """What a person types for an argument, by the argument's name."""
    words = {"instanceId": "ID", "context": "the text", "message": "the text"}
    for each in command.command.params:
        if each.name in _ARGUMENTS:
            option = next((one for one in each.opts if one.startswith("--")), "")
            words[_ARGUMENTS[each.name]] = option or (each.metavar or each.name.upper()).removesuffix("...")
    return words


def _spoken(refusal: str, words: Mapping[str, str]) -> str:
    """What the team says to leads, in the words of the command line.

    A name is replaced where it is no word of any language and stands free: a path or a quoted text may hold it as well.
    """
    for pattern, said in _PHRASES:
        refusal = pattern.sub(said, refusal)
    names = "|".join(name for name in words if name != name.lower())
    return re.sub(rf"(?<![\w/.'\"-])({names})(?![\w/'\"-])", lambda found: words[found[1]], refusal)


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
    command: typer.Context
    home: Home
    output: Output

    def ask(self, verb: Verb[RequestT, ResultT], what: str, **more: Any) -> ResultT:
        """Runs one verb of the supervisor with what the command was given; shows ``what`` while it runs.

        ``more``: fields of the request that are not given as they are typed. Raises ``PhalanxError``.
        """
        values = {name: value for name, value in {**self.command.params, **more}.items() if value not in (None, ())}
        arguments = {_ARGUMENTS[name]: value for name, value in values.items() if name in verb.request.model_fields}
        request = parse(verb.request, arguments, _typed_words(self.command))

        notes: list[str] = []

        async def call(on_progress: ProgressCallback) -> ResultT:
            client = await self.world.connect(self.home)
            try:
                return await client.call(verb, request, on_progress)
            finally:
                notes.append(client.version_note)
                await client.close()

        with self.if_stopped(_left_at(verb)), self.output.telling_progress(what) as on_progress:
            result = asyncio.run(call(on_progress))
        for note in filter(None, notes):
            self.output.say(note, "yellow")
        return result

    def show(self, result: Result, view: RenderableType) -> None:
        """The result with ``--json``, else the view of it."""
        document = result.model_dump(mode="json", by_alias=True)
        self.output.show(document, plain(view) if isinstance(view, str) else view)

    @contextmanager
    def if_stopped(self, words: str) -> Iterator[None]:
        """Ctrl-C in the block ends the command with these words."""
        try:
            yield
        except KeyboardInterrupt:
            self.output.say(words)
            raise typer.Exit(STOPPED) from None


@contextmanager
def session(command: typer.Context) -> Iterator[CliSession]:
    """What a command does, it does in here. It has the options ``HomeOption`` and ``JsonOption``."""
    world: CommandContext = command.obj
    home, as_json = command.params["home"], command.params["as_json"]
    output = Output.to(sys.stdout, sys.stderr, as_json=as_json)
    try:
        named = {HOME_VARIABLE: str(home)} if home else {}
        home_of_team = home_from({**world.environment, **named})
        yield CliSession(world=world, command=command, home=home_of_team, output=output)
    except PhalanxError as error:
        said = _spoken(str(error), _typed_words(command))
        if as_json:
            output.show({"error": {**to_wire(error), "message": said}}, "")
        output.say(said, "red")
        usage = type(error) is InvalidRequestError  # those derived from it say what is the matter with the team
        raise typer.Exit(WRONG_USAGE if usage else 1) from None


def _left_at(verb: Verb[Any, Any]) -> str:
    """What becomes of a call whose caller has gone away. The team undoes only what it has not begun."""
    if verb.looks:
        return "Stopped."
    rest = "Stopped waiting; the team may do it all the same. `phalanx list` shows what became of it."
    return _LEFT.get(verb.name, rest)


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
