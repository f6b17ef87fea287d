"""One run of a command: its home, its calls of the supervisor, its output and its errors.

``CommandContext`` holds everything outside the process that a command touches; tests pass another one. ``in_session``
makes a command of a function that takes its ``CliSession`` first: it adds the options that all commands have, and turns
a ``PhalanxError`` into a message on stderr and an exit code. ``CliSession.ask`` fills a request from the options and
arguments that have the names of its fields. Error texts name these as they were typed: ``--parent`` for ``parentId``;
and errors and results name instances by their names (``naming``).
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
from functools import cache, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer
from rich.console import RenderableType

from actors.errors import InvalidRequestError, PhalanxError, to_wire
from actors.home import HOME_VARIABLE, Home, home_from, leader_of
from mcp_entry.cli.naming import holds_an_id, sentence_with_names, with_names
from mcp_entry.cli.output import Output, plain
from mcp_entry.launch import STOPPED, say_nothing_more
from supervisor.api.results import Result
from supervisor.api.validation import parse
from supervisor.api.verbs import VERBS, ProgressCallback, RequestT, ResultT, Tally, TeamVerbs, Verb
from supervisor.rpc.client import SupervisorClient
from supervisor.team.file import wanted_team

if TYPE_CHECKING:
    from supervisor.runtime import DownReport, OnStep, TeamAddress, TeamState
    from supervisor.settings import Settings

_PHRASES = (
    (re.compile(r"\bCall list to see (the team|who \w+)"), r"`phalanx list` shows \1"),
    (re.compile(r"\buse a shared workspace\b"), "use --shared"),
    (re.compile(r"\bCall list and look at it first\b"), "Look at it with `phalanx list` first"),
)
SENDER = "operator"
PROGRAM_LIMIT_S = 60.0
WRONG_USAGE = 2
BROUGHT_DOWN = 4
"""The exit code of a command that follows a team for as long as it is there."""
_AFTER_CTRL_C = {
    "wait": "Stopped waiting; the team works on. `phalanx interrupt --all` stops its turns.",
    "spawn": "Stopped waiting; the instance may start all the same. `phalanx list` shows it, `phalanx terminate ID` "
    "ends it.",
    "spawn_batch": "Stopped waiting; those that have begun may start all the same. `phalanx list` shows them, `phalanx "
    "terminate ID` ends one, and the same command again starts what is missing.",
    "resume": "Stopped waiting; those that have begun start all the same, the others do not. `phalanx list` shows "
    "them, `phalanx terminate ID` ends one, and `phalanx up --resume` starts the others.",
    "restart": "Stopped waiting; those that have begun start again all the same, the others stay as they are. `phalanx "
    "list` shows them, `phalanx terminate ID` ends one.",
    "terminate": "Stopped waiting; they are ended all the same. `phalanx list` shows who is left, `phalanx restart ID` "
    "brings one back whose worktree is still there.",
    "recycle": "Stopped waiting; who was asked for a summary goes on with a fresh conversation all the same. `phalanx "
    "interrupt ID` ends that turn.",
    "prewarm_resources": "Stopped waiting; the spares are made all the same. `phalanx perf` shows how many are ready, "
    "`phalanx prewarm 0 --worktrees 0` lets them go.",
    "drain": "Stopped waiting; the machine takes nothing new and is emptied all the same. `phalanx hosts` shows how "
    "far that is, `phalanx drain HOST --undo` ends it.",
    "merge": "Stopped waiting; the merge goes on, and moves all of the work or none. `phalanx list --work` shows what "
    "came of it.",
    "sync": "Stopped waiting; each gets the branch when its turn ends all the same. `phalanx list --work` shows what "
    "came of it.",
    "git_batch": "Stopped waiting; what has begun in a repository is done all the same. `phalanx perf` shows what "
    "still runs.",
}
_SHARED = (
    Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context),
    Parameter(
        "home",
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None, typer.Option("--home", help="The team's directory; default: PHALANX_HOME, else ~/.phalanx.")
        ],
    ),
    Parameter(
        "as_json",
        Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables and texts.")],
    ),
)
"""The parameters that every command has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    environment: Mapping[str, str]
    connect: Callable[[Home], Awaitable[SupervisorClient]]
    """Raises ``TeamNotRunningError`` when no team runs in the home."""
    runtime: Callable[[Home, Settings | None], TeamRuntime]
    """The runtime of a home, with these settings, or the defaults where they do not matter."""
    run: Callable[[Sequence[str], Mapping[str, str]], subprocess.CompletedProcess[str]]
    """Runs a program to its end, without input. Raises ``OSError`` and ``subprocess.TimeoutExpired``."""
    become: Callable[[list[str], Mapping[str, str]], NoReturn]
    """Replaces this process by a program."""
    enter: Callable[[list[str], Mapping[str, str]], int]
    """Gives the terminal to a program until that ends. Returns its exit status."""
    browse: Callable[[str], bool]
    """Opens an address in the user's browser. False where there is none beside the terminal."""
    is_terminal: Callable[[], bool]
    """Whether stdin and stdout are terminals."""


class TeamRuntime(Protocol):
    """The part of ``Runtime`` that commands call. Raises ``PhalanxError``."""

    def up(self, environment: Mapping[str, str], on_step: OnStep) -> TeamAddress: ...
    def down(self, on_step: OnStep) -> DownReport: ...
    def state(self) -> TeamState: ...


def home_meant(context: CommandContext, given: Path | None) -> Home:
    """``given``: on the command line. Raises as ``home_from``."""
    named = {HOME_VARIABLE: str(given)} if given else {}
    return home_from({**context.environment, **named})


def system_context() -> CommandContext:
    return CommandContext(
        environment=os.environ,
        connect=_connect,
        runtime=_runtime,
        run=_run,
        become=_become,
        enter=_enter,
        browse=_browse,
        is_terminal=_is_terminal,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CliSession:
    context: CommandContext
    command: typer.Context
    home: Home
    output: Output

    def is_brought_down(self) -> bool:
        """Whether a team that does not answer was brought down, or is being so. On a host whose team is led from
        another one nobody can tell: False."""
        return not leader_of(self.home) and wanted_team(self.home) is None

    def say_brought_down(self) -> None:
        self.output.say(f"The team in {self.home.root} was brought down.")

    def ask(self, verb: Verb[RequestT, ResultT], what: str, **more: Any) -> ResultT:
        """Calls one verb with the command's options and arguments; shows ``what`` while it runs.

        ``more``: fields of the request that differ from what was typed. Raises ``PhalanxError``.
        """
        (result,) = self._call(verb, [self._request(verb, **more)], what)
        if isinstance(result, PhalanxError):
            raise result
        return result

    def ask_each(
        self, verb: Verb[RequestT, ResultT], what: str, instance_ids: Sequence[str]
    ) -> Sequence[ResultT | PhalanxError]:
        """``ask`` for each of these instances, side by side: what became of each, in this order.

        Of several each refusal is said alone, on stderr. Raises ``PhalanxError`` when the only one is refused, and when
        the team does not answer at all.
        """
        answers = self._call(verb, [self._request(verb, instance_id=each) for each in instance_ids], what)
        if len(answers) == 1 and isinstance(answers[0], PhalanxError):
            raise answers[0]
        for instance_id, answer in zip(instance_ids, answers, strict=True):
            if isinstance(answer, PhalanxError):
                self.output.say(f"{instance_id}: {self.in_words(answer)}", "red")
        return answers

    def _request(self, verb: Verb[RequestT, ResultT], **more: Any) -> RequestT:
        values = {name: value for name, value in {**self.command.params, **more}.items() if value not in (None, ())}
        fields = verb.request.model_fields
        arguments = {fields[name].alias or name: value for name, value in values.items() if name in fields}
        try:
            return parse(verb.request, arguments)
        except InvalidRequestError:
            return parse(verb.request, arguments, _typed_words(self.command))  # the same in the words that were typed

    def _call(
        self, verb: Verb[RequestT, ResultT], requests: Sequence[RequestT], what: str
    ) -> Sequence[ResultT | PhalanxError]:
        """What became of each. Raises ``PhalanxError`` when the team does not answer at all."""
        notes: list[str] = []

        async def one(
            client: SupervisorClient, request: RequestT, on_progress: ProgressCallback
        ) -> ResultT | PhalanxError:
            try:
                return await client.call(verb, request, on_progress)
            except PhalanxError as error:
                return error

        async def each(client: SupervisorClient, on_progress: ProgressCallback) -> Sequence[ResultT | PhalanxError]:
            tally = Tally(on_progress, len(requests), "")

            async def counted(request: RequestT) -> ResultT | PhalanxError:
                answer = await one(client, request, lambda _done, _total, what: tally.waits(what))
                tally.is_done("")
                return answer

            return await asyncio.gather(*map(counted, requests))

        async def call(on_progress: ProgressCallback) -> Sequence[ResultT | PhalanxError]:
            client = await self.context.connect(self.home)
            try:
                if len(requests) == 1:
                    return [await one(client, requests[0], on_progress)]
                return await each(client, on_progress)
            finally:
                notes.append(client.version_note)
                await client.close()

        telling = self.output.telling_progress(what, alike=verb.alike)
        with self.on_ctrl_c(_words_after_ctrl_c(verb)), telling as on_progress:
            answers = asyncio.run(call(on_progress))
        for note in filter(None, notes):
            self.output.say(note, "yellow")
        return answers

    def ask_and_show(
        self, verb: Verb[RequestT, ResultT], what: str, view: Callable[[ResultT], RenderableType], **more: Any
    ) -> ResultT:
        """``ask``, then ``show`` with this view of the result, in which instances are named."""
        result = self.ask(verb, what, **more)
        self.show(result, view(self.named(result)))
        return result

    def named(self, result: ResultT) -> ResultT:
        """The result for a view that has no column of names."""
        if self.output.as_json or not holds_an_id(result.model_dump_json()):
            return result
        return with_names(result, self._names())

    def in_words(self, error: PhalanxError) -> str:
        """The error for a person: in the words that were typed, with the names of instances."""
        said = _in_typed_words(str(error), _typed_words(self.command))
        return said if self.output.as_json or not holds_an_id(said) else sentence_with_names(said, self._names())

    def _names(self) -> Mapping[str, str]:
        """By id, of all instances that have one; empty when the team does not answer."""

        async def look() -> Mapping[str, Any]:
            client = await self.context.connect(self.home)
            try:
                return await client.call_json(TeamVerbs.list, {"includeStopped": True})
            finally:
                await client.close()

        try:
            listed = asyncio.run(look())
        except PhalanxError:
            return {}
        return {each["instanceId"]: each["name"] for each in listed["instances"] if each.get("name")}

    def show(self, result: Result, view: RenderableType) -> None:
        """Writes the result with ``--json``, otherwise the view."""
        document = result.model_dump(mode="json", by_alias=True)
        self.output.show(document, plain(view) if isinstance(view, str) else view)

    @contextmanager
    def on_ctrl_c(self, words: str) -> Iterator[None]:
        """Ctrl-C in the block ends the command with this text."""
        try:
            yield
        except KeyboardInterrupt:
            say_nothing_more()
            self.output.say(words)
            raise typer.Exit(STOPPED) from None


def in_session(function: Callable[..., int | None]) -> Callable[..., None]:
    """The command that calls ``function`` with its session and its own arguments, and ends with the exit code given."""

    @wraps(function)
    def command(context: typer.Context, home: Path | None, *, as_json: bool, **given: Any) -> None:
        with _session(context, home, as_json=as_json) as team:
            code = function(team, **given)
        if code:
            raise typer.Exit(code)

    _, *own = signature(function, eval_str=True).parameters.values()
    command.__signature__ = Signature([*own, *_SHARED])  # type: ignore[attr-defined]
    return command


@contextmanager
def _session(command: typer.Context, home: Path | None, *, as_json: bool) -> Iterator[CliSession]:
    context: CommandContext = command.obj or system_context()
    output = Output.to(sys.stdout, sys.stderr, as_json=as_json)
    try:
        session = CliSession(context=context, command=command, home=home_meant(context, home), output=output)
    except PhalanxError as error:
        raise _ended(output, error, _in_typed_words(str(error), _typed_words(command))) from None
    try:
        yield session
    except PhalanxError as error:
        raise _ended(output, error, session.in_words(error)) from None


def _ended(output: Output, error: PhalanxError, said: str) -> typer.Exit:
    """Tells of the error. Returns the end of the command."""
    if output.as_json:
        output.show({"error": {**to_wire(error), "message": said}}, "")
    output.say(said, "red")
    usage = type(error) is InvalidRequestError  # subclasses are about the team and not about the usage
    return typer.Exit(WRONG_USAGE if usage else 1)


@cache
def _arguments() -> Mapping[str, str]:
    """The names of arguments in the tools, by the names of the fields."""
    return {name: field.alias or name for verb in VERBS.values() for name, field in verb.request.model_fields.items()}


def _typed_words(command: typer.Context) -> Mapping[str, str]:
    """The option or argument that a person types, by the tools' name for it."""
    arguments = _arguments()
    words = {"instanceId": "ID", "context": "the text", "message": "the text"}
    for each in command.command.params:
        if each.name in arguments:
            option = next((one for one in each.opts if one.startswith("--")), "")
            words[arguments[each.name]] = option or (each.metavar or each.name.upper()).removesuffix("...")
    return words


def _in_typed_words(refusal: str, words: Mapping[str, str]) -> str:
    """An error text of the team, which is written for leads, in the words of the command line.

    Names are replaced only where they stand free: a path or a quoted text may hold them too. A name that is a word of
    English is one only where the text says what to do with it: give it, correct it or leave it out.
    """
    for pattern, said in _PHRASES:
        refusal = pattern.sub(said, refusal)
    mixed = "|".join(name for name in words if name != name.lower())
    refusal = re.sub(rf"(?<![\w/.'\"-])({mixed})(?![\w/'\"-])", lambda found: words[found[1]], refusal)
    name = f"(?:{'|'.join(words)})"
    told = rf"\b(?:[Gg]ive|[Cc]orrect|[Ll]eave|, not) {name}(?: and {name})*(?=[.,:;]| out\b|$)"
    return re.sub(told, lambda found: re.sub(rf"\b{name}\b", lambda one: words[one[0]], found[0]), refusal)


def _words_after_ctrl_c(verb: Verb[Any, Any]) -> str:
    """What becomes of a call whose caller stopped waiting. The team undoes only what it has not begun."""
    if verb.name in _AFTER_CTRL_C:
        return _AFTER_CTRL_C[verb.name]
    if verb.read_only:
        return "Stopped."
    return "Stopped waiting; the team may do it all the same. `phalanx list` shows what became of it."


def _runtime(home: Home, settings: Settings | None) -> TeamRuntime:
    from supervisor.runtime import Runtime  # noqa: PLC0415 - few commands need it, and it takes long to load
    from supervisor.settings import Settings  # noqa: PLC0415 - likewise

    return Runtime(home, settings or Settings())


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


def _enter(command: list[str], environment: Mapping[str, str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return subprocess.call(command, env=environment)


def _browse(address: str) -> bool:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform != "darwin" and not any(os.environ.get(name) for name in names):
        return False  # what is left would take the terminal
    import webbrowser  # noqa: PLC0415 - only this command pays for it

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
