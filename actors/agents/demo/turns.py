"""The turns of the demo: ``turn`` decides what a turn does, ``TurnRunner`` performs it.

A turn is a pure generator: it yields an act, the runner carries it out, which may take a while, and sends back what
came of it. Closing the generator interrupts the turn. One turn runs at a time. Lines of a message decide what it does:

::

    @@demo busy SECONDS            work that long
    @@demo dialog TOOL {json}      ask for permission to use a tool; when allowed, it is noted in ran.jsonl
    @@demo ask                     open a menu that is no permission request
    @@demo commit FILE TEXT        write FILE in the working directory and commit it
    @@demo fail rate_limit|api     end the turn with an API error
    @@demo swallow-enter           swallow the next Enter
    @@demo never-answer            work until interrupted
    @@demo crash CODE              end the program at once, without a hook
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from actors.agents.demo.display import TOOL_LOG, Display, OpenDialog
from actors.agents.demo.loop import ChildProcess
from actors.agents.demo.records import decision_in
from actors.agents.demo.terminal import DialogView

_LINE = re.compile(r"^@@demo ([a-z-]+)(?: (.*))?$", re.MULTILINE)
_HEADER = re.compile(r"^\[phalanx msg_\S+ from [^\]\n]+\]$", re.MULTILINE)

_NOTIFY_AFTER_S = 6.0
_REJECTED = (
    "The user doesn't want to proceed with this tool use. The tool use was rejected. STOP what you are doing and wait "
    "for the user to tell you how to proceed."
)
_IDENTITY = ("-c", "user.name=demo", "-c", "user.email=demo@localhost")


class Directive(NamedTuple):
    name: str
    argument: str


def directives_in(prompt: str) -> list[Directive]:
    return [Directive(found[1], found[2] or "") for found in _LINE.finditer(prompt)]


def answer_to(prompts: Iterable[str]) -> str:
    """The demo's answer: how many messages it received, and the last line of the last."""
    text = "\n".join(prompts)
    messages = len(_HEADER.findall(text)) or 1
    lines = [line for line in text.split("\n") if line.strip() and not _LINE.fullmatch(line)]
    return f"demo: received {messages} message(s): {lines[-1] if lines else ''}"


class BeBusy(NamedTuple):
    """Be busy for ``seconds``; for ever without."""

    seconds: float | None


class UseTool(NamedTuple):
    """Use a tool after asking for permission. Sends back the tool's result as text."""

    tool: str
    tool_input: dict[str, Any]


class Choose(NamedTuple):
    """Show a menu that is no permission request. Sends back what was chosen."""

    question: str
    options: tuple[str, ...]


class CommitFile(NamedTuple):
    """Write a file and commit it. Sends back what git said."""

    file: str
    text: str


class SwallowEnter(NamedTuple):
    """Swallow the next Enter."""


class Crash(NamedTuple):
    """End the program at once."""

    status: int


Act = BeBusy | UseTool | Choose | CommitFile | SwallowEnter | Crash


class TurnOutcome(NamedTuple):
    """How the turn ended. ``error`` is empty, or the kind of API error that ``text`` reports."""

    text: str
    error: str = ""
    status: int = 0


Turn = Generator[Act, str, TurnOutcome]
_FAILURES = {
    "rate_limit": TurnOutcome("API Error: Request rejected (429) · demo", error="rate_limit", status=429),
    "api": TurnOutcome("API Error: 500 demo", error="server_error", status=500),
}


def turn(prompts: Iterable[str], work_s: float) -> Turn:
    """The turn that answers ``prompts``, which were submitted together."""
    prompts = list(prompts)
    yield BeBusy(work_s)
    results = []
    for directive in [each for prompt in prompts for each in directives_in(prompt)]:
        if directive.name == "fail":
            return _FAILURES.get(directive.argument, _FAILURES["api"])
        act = _act(directive)
        if act is None:
            results.append(f"@@demo {directive.name} is not understood")
        elif result := (yield act):
            results.append(result)
    return TurnOutcome("\n".join([answer_to(prompts), *(f"result: {result}" for result in results)]))


def _act(directive: Directive) -> Act | None:
    """None for a directive that is not understood."""
    make = _ACTS.get(directive.name)
    try:
        return make(directive.argument) if make else None
    except ValueError:
        return None


def _use_tool(argument: str) -> UseTool:
    tool, _, tool_input = argument.partition(" ")
    parsed = json.loads(tool_input or "{}")
    return UseTool(tool or "Bash", parsed if isinstance(parsed, dict) else {})


def _commit(argument: str) -> CommitFile:
    file, _, text = argument.partition(" ")
    if not file:
        raise ValueError("commit needs a file")
    return CommitFile(file, text)


_ACTS: dict[str, Callable[[str], Act]] = {
    "busy": lambda seconds: BeBusy(float(seconds)),
    "never-answer": lambda _: BeBusy(None),
    "dialog": _use_tool,
    "ask": lambda _: Choose("Which one?", ("This one", "That one")),
    "commit": _commit,
    "swallow-enter": lambda _: SwallowEnter(),
    "crash": lambda status: Crash(int(status or 1)),
}


class TurnRunner:
    """``finished`` is called after every turn, however it ended."""

    def __init__(self, display: Display, finished: Callable[[], None]) -> None:
        self._display = display
        self._finished = finished
        self._turn: Turn | None = None
        self._prompts: tuple[str, ...] = ()
        self._cancel: Callable[[], None] = _nothing
        self._hooks: list[ChildProcess] = []
        self._has_output = False

    @property
    def busy(self) -> bool:
        return self._turn is not None

    def begin(self, prompts: Sequence[str]) -> None:
        self._prompts = tuple(prompts)
        self._turn = turn(prompts, self._display.options.work_s)
        self._has_output = False
        self._display.busy = True
        self._perform(next(self._turn))

    def interrupt(self) -> None:
        """Escape: before any output the last prompt goes back into the input box, as if it had never been sent."""
        display = self._display
        if not self._has_output and not display.queued and not display.draft.shown:
            display.conversation.pop()
            display.draft.replace(self._prompts[-1])
        else:
            display.transcript.interrupted(during_tool=False)
            display.say("tool", "Interrupted · What should Claude do instead?")
        self._close()

    def _advance(self, result: str = "") -> None:
        if self._turn is None:
            return
        try:
            act = self._turn.send(result)
        except StopIteration as end:
            self._conclude(end.value)
        else:
            self._perform(act)

    def _perform(self, act: Act) -> None:
        match act:
            case BeBusy(None):
                return
            case BeBusy(float(seconds)):
                self._cancel = self._display.loop.later(seconds, self._advance)
            case UseTool(tool, tool_input):
                self._use(tool, tool_input)
            case Choose(question, options):
                self._choose(question, options)
            case CommitFile(file, text):
                self._commit(file, text)
            case SwallowEnter():
                self._display.swallow_enter = True
                self._advance()
            case Crash(status):
                self._display.loop.stop(status)
        self._display.repaint()

    def _conclude(self, outcome: TurnOutcome) -> None:
        display = self._display
        display.say("agent", outcome.text)
        if outcome.error:
            display.transcript.failure(outcome.text, outcome.error, outcome.status)
            display.hooks.fire("StopFailure", error=outcome.error, last_assistant_message=outcome.text)
        else:
            display.transcript.answer(outcome.text)
            display.hooks.fire("Stop", stop_hook_active=False, last_assistant_message=outcome.text)
        self._close()

    def _close(self) -> None:
        if self._turn is not None:
            self._turn.close()
        self._turn = None
        self._cancel()
        self._cancel = _nothing
        self._display.dialog = None
        self._display.busy = False
        self._finished()

    def _use(self, tool: str, tool_input: dict[str, Any]) -> None:
        """Shows the dialog and starts the hooks; the first decision counts."""
        display = self._display
        self._has_output = True
        call_id = display.transcript.tool_call(tool, tool_input)
        shown = ", ".join(str(value) for value in tool_input.values())
        display.say("agent", f"{tool}({shown})")
        view = DialogView(
            title=f"{tool} command",
            body=(shown,),
            question="Do you want to proceed?",
            options=("Yes", "Yes, and don't ask again", "No"),
        )

        def decide(allow: bool, message: str) -> None:
            if display.dialog is dialog:
                self._decided(call_id, UseTool(tool, tool_input), allow, message)

        def choose(option: int | None) -> None:
            if option in {0, 1}:
                decide(True, "")
            else:
                self._reject(call_id)

        dialog = display.dialog = OpenDialog(view, choose)
        for hook in display.hooks.ask(tool, tool_input):
            self._watch(hook, decide)
        self._cancel = display.loop.later(_NOTIFY_AFTER_S, self._notify)

    def _watch(self, hook: ChildProcess, decide: Callable[[bool, str], None]) -> None:
        self._hooks.append(hook)

        def collect() -> None:
            output = hook.output
            if hook.collect():
                self._display.loop.forget(output)
                self._hooks.remove(hook)
                if decision := decision_in(hook.printed):
                    decide(*decision)

        self._display.loop.on_readable(hook.output, collect)

    def _notify(self) -> None:
        self._display.hooks.fire(
            "Notification", message="Claude needs your permission", notification_type="permission_prompt"
        )

    def _decided(self, call_id: str, call: UseTool, allow: bool, message: str) -> None:
        display = self._display
        self._cancel()
        display.dialog = None
        result = f"{call.tool} ran" if allow else message
        if allow:
            display.note(TOOL_LOG, tool=call.tool, tool_input=call.tool_input)
            fields = {"tool_name": call.tool, "tool_input": call.tool_input, "tool_use_id": call_id}
            display.hooks.fire("PostToolUse", **fields, tool_response=result)
        display.transcript.tool_result(call_id, result, error=not allow)
        display.say("tool", result)
        self._take_in_queued()
        self._advance(result)

    def _take_in_queued(self) -> None:
        """What was queued meanwhile becomes part of the turn, without a hook, as in Claude Code."""
        display = self._display
        for text in display.queued:
            display.transcript.injected(text)
            display.say("user", text)
        display.queued.clear()

    def _reject(self, call_id: str) -> None:
        display = self._display
        for hook in self._hooks:
            hook.end()
        display.transcript.tool_result(call_id, _REJECTED, error=True)
        display.transcript.interrupted(during_tool=True)
        display.say("tool", "Interrupted · What should Claude do instead?")
        self._close()

    def _choose(self, question: str, options: tuple[str, ...]) -> None:
        self._has_output = True

        def choose(option: int | None) -> None:
            self._display.dialog = None
            if option is None:
                self.interrupt()
            else:
                self._advance(options[option])

        view = DialogView(
            title="Question", body=(question,), question="", options=options, hint="Enter to select · Esc to cancel"
        )
        self._display.dialog = OpenDialog(view, choose)

    def _commit(self, file: str, text: str) -> None:
        self._has_output = True
        try:
            said = _committed(self._display.options.cwd, file, text)
        except OSError as error:
            said = str(error)
        self._advance(said)


def _committed(directory: Path, file: str, text: str) -> str:
    """What git said. Raises ``OSError`` for a file that cannot be written and when there is no git."""
    path = directory / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    for arguments in (("add", "--", file), (*_IDENTITY, "commit", "-m", f"Add {file}", "--", file)):
        git = ChildProcess(("git", *arguments), os.environ, b"")
        said = git.wait().decode(errors="replace").strip()
        if git.status:
            break
    return said


def _nothing() -> None:
    """There is nothing to cancel."""
