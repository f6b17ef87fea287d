"""The turns of the demo: ``TurnRunner`` runs one at a time. Lines of a message decide what a turn does:

::

    @@demo busy SECONDS            work that long
    @@demo dialog TOOL {json}      ask for permission to use a tool; when allowed, it is noted in ran.jsonl
    @@demo ask                     open a menu that is no permission request
    @@demo team TOOL {json}        call a tool of the team, as Claude Code does: without a dialog, with its token
    @@demo commit FILE TEXT        write FILE below the working directory and commit it, without a dialog
    @@demo fail rate_limit|api     end the turn with an API error; words after it are those of the error
    @@demo tokens NUMBER           say that each answer of the turn from here on took that many input tokens
    @@demo swallow-enter           swallow the next Enter
    @@demo never-answer            work until interrupted
    @@demo crash CODE              end the program at once, without a hook
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from actors.agents.demo.display import TOOL_LOG, Display, OpenDialog
from actors.agents.demo.loop import ChildProcess
from actors.agents.demo.records import INPUT_TOKENS, decision_in
from actors.agents.demo.terminal import DialogView
from actors.marks import TEAM_SERVER

_TEAM_CALL = str(Path(__file__).with_name("team_call.py"))
_LINE = re.compile(r"^@@demo ([a-z-]+)(?: (.*))?$", re.MULTILINE)
_HEADER = re.compile(r"^\[phalanx msg_\S+ from [^\]\n]+\]$", re.MULTILINE)

_NOTIFY_AFTER_S = 6.0
_REJECTED = (
    "The user doesn't want to proceed with this tool use. The tool use was rejected. STOP what you are doing and wait "
    "for the user to tell you how to proceed."
)
_INTERRUPTED = "Interrupted · What should Claude do instead?"
_IDENTITY = ("-c", "user.name=demo", "-c", "user.email=demo@localhost")
_CHOICES = ("This one", "That one")


def directives_in(prompts: Iterable[str]) -> list[tuple[str, str]]:
    """Name and argument of each directive."""
    return [(found[1], found[2] or "") for found in _LINE.finditer("\n".join(prompts))]


def answer_to(prompts: Iterable[str]) -> str:
    """The demo's answer: how many messages it received, and the last line of the last."""
    text = "\n".join(prompts)
    messages = len(_HEADER.findall(text)) or 1
    lines = [line for line in text.split("\n") if line.strip() and not _LINE.fullmatch(line)]
    return f"demo: received {messages} message(s): {lines[-1] if lines else ''}"


class TurnRunner:
    """``finished`` is called after every turn, however it ended."""

    def __init__(self, display: Display, finished: Callable[[], None]) -> None:
        self._display = display
        self._finished = finished
        self._prompts: Sequence[str] = ()
        self._directives = iter(directives_in(()))
        self._results: list[str] = []
        self._cancel: Callable[[], None] = _nothing
        self._hooks: list[ChildProcess] = []
        self._call: ChildProcess | None = None
        """Of a tool of the team, which is under way."""
        self._has_output = False

    def begin(self, prompts: Sequence[str]) -> None:
        """Begins the turn that answers ``prompts``, which were submitted together."""
        self._prompts = prompts
        self._directives = iter(directives_in(prompts))
        self._results = []
        self._has_output = False
        self._display.busy = True
        self._display.transcript.input_tokens = INPUT_TOKENS
        self._work(self._display.options.work_s)
        self._display.repaint()

    def interrupt(self) -> None:
        """Escape: before any output the last prompt goes back into the input box, as if it had never been sent."""
        display = self._display
        if self._call is not None:
            self._call.end()
            self._call = None
        if not self._has_output and not display.queued and not display.draft.shown:
            display.conversation.pop()
            display.draft.replace(self._prompts[-1])
        else:
            display.transcript.interrupted(during_tool=False)
            display.say("tool", _INTERRUPTED)
        self._close()

    def _advance(self) -> None:
        """Carries out directives until one takes time; after the last one the turn ends."""
        for name, argument in self._directives:
            try:
                is_done = self._carry_out(name, argument)
            except ValueError:
                self._results.append(f"@@demo {name} is not understood")
                continue
            if not is_done:
                self._display.repaint()
                return
        text = "\n".join([answer_to(self._prompts), *(f"result: {result}" for result in self._results)])
        self._display.transcript.answer(text)
        self._end("Stop", text, stop_hook_active=False)

    def _carry_out(self, name: str, argument: str) -> bool:  # noqa: C901 - one case for each directive
        """False when the turn goes on later or has ended. Raises ``ValueError`` for what is not understood."""
        match name:
            case "busy":
                self._work(float(argument))
            case "never-answer":
                pass
            case "dialog":
                tool, tool_input = _call_in(argument)
                self._use(tool or "Bash", tool_input)
            case "team":
                self._call_team(*_call_in(argument))
            case "ask":
                self._choose()
            case "fail":
                kind, _, words = argument.partition(" ")
                self._fail("rate_limit" if kind == "rate_limit" else "server_error", words)
            case "crash":
                self._display.loop.stop(int(argument or 1))
            case "commit":
                self._commit(argument)
                return True
            case "tokens":
                self._display.transcript.input_tokens = int(argument)
                return True
            case "swallow-enter":
                self._display.swallow_enter = True
                return True
            case _:
                raise ValueError(name)
        return False

    def _work(self, seconds: float) -> None:
        self._cancel = self._display.loop.later(seconds, self._advance)

    def _fail(self, error: str, words: str) -> None:
        status, text = 500, "API Error: 500 demo"
        if error == "rate_limit":
            status, text = 429, "API Error: Request rejected (429) · demo"
        text = words or text
        self._display.transcript.failure(text, error, status)
        self._end("StopFailure", text, error=error)

    def _end(self, event: str, text: str, **fields: object) -> None:
        self._display.say("agent", text)
        self._display.hooks.fire(event, **fields, last_assistant_message=text)
        self._close()

    def _close(self) -> None:
        self._cancel()
        self._cancel = _nothing
        self._display.dialog = None
        self._display.busy = False
        self._finished()

    def _use(self, tool: str, tool_input: dict[str, object]) -> None:
        """Shows the dialog and starts the hooks; the first decision counts."""
        display = self._display
        self._has_output = True
        call_id = display.transcript.tool_call(tool, tool_input)
        shown = ", ".join(map(str, tool_input.values()))
        display.say("agent", f"{tool}({shown})")
        view = DialogView(
            title=f"{tool} command",
            body=(shown,),
            question="Do you want to proceed?",
            options=("Yes", "Yes, and don't ask again", "No"),
        )

        def decide(allow: bool, message: str) -> None:
            if display.dialog is not dialog:
                return
            self._cancel()
            display.dialog = None
            result = f"{tool} ran" if allow else message
            if allow:
                display.note(TOOL_LOG, tool=tool, tool_input=tool_input)
                fields = {"tool_name": tool, "tool_input": tool_input, "tool_use_id": call_id}
                display.hooks.fire("PostToolUse", **fields, tool_response=result)
            display.transcript.tool_result(call_id, result, error=not allow)
            display.say("tool", result)
            self._take_queued()
            self._go_on(result)

        def choose(option: int | None) -> None:
            if option in {0, 1}:
                decide(True, "")
            else:
                self._reject(call_id)

        dialog = display.dialog = OpenDialog(view, choose)
        for hook in display.hooks.ask(tool, tool_input):
            self._watch(hook, decide)
        self._cancel = display.loop.later(_NOTIFY_AFTER_S, self._notify)

    def _call_team(self, tool: str, arguments: dict[str, object]) -> None:
        """Runs the call as a process of its own, so that keys are read meanwhile. Raises ``ValueError``."""
        display, config = self._display, self._display.options.mcp_config
        if config is None:
            raise ValueError("this agent has no tools of the team")
        self._has_output = True
        name = f"mcp__{TEAM_SERVER}__{tool}"
        call_id = display.transcript.tool_call(name, arguments)
        display.say("agent", f"{name}({json.dumps(arguments, ensure_ascii=False)})")
        given = json.dumps({"tool": tool, "arguments": arguments, "toolUseId": call_id})
        call = ChildProcess((sys.executable, "-I", "-S", _TEAM_CALL, str(config)), os.environ, given.encode())
        output = call.output

        def collect() -> None:
            if not call.collect():
                return
            display.loop.forget(output)
            if self._call is not call:  # it was interrupted
                return
            self._call = None
            result = call.printed.decode(errors="replace").strip()
            display.transcript.tool_result(call_id, result, error=bool(call.status))
            event = "PostToolUseFailure" if call.status else "PostToolUse"
            display.hooks.fire(event, tool_name=name, tool_input=arguments, tool_use_id=call_id)
            display.say("tool", result)
            self._take_queued()
            self._go_on(result)

        self._call = call
        display.loop.on_readable(output, collect)

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

    def _take_queued(self) -> None:
        """After a tool they become part of the turn, without a hook, as in Claude Code."""
        for text in self._display.queued:
            self._display.transcript.injected(text)
            self._display.say("user", text)
        self._display.queued.clear()

    def _notify(self) -> None:
        self._display.hooks.fire(
            "Notification", message="Claude needs your permission", notification_type="permission_prompt"
        )

    def _go_on(self, result: str) -> None:
        """A tool or a choice gave this result."""
        if result:
            self._results.append(result)
        self._advance()

    def _reject(self, call_id: str) -> None:
        for hook in self._hooks:
            hook.end()
        self._display.transcript.tool_result(call_id, _REJECTED, error=True)
        self._display.transcript.interrupted(during_tool=True)
        self._display.say("tool", _INTERRUPTED)
        self._close()

    def _choose(self) -> None:
        self._has_output = True

        def choose(option: int | None) -> None:
            self._display.dialog = None
            if option is None:
                self.interrupt()
            else:
                self._go_on(_CHOICES[option])

        view = DialogView(
            title="Question",
            body=("Which one?",),
            question="",
            options=_CHOICES,
            hint="Enter to select · Esc to cancel",
        )
        self._display.dialog = OpenDialog(view, choose)

    def _commit(self, argument: str) -> None:
        """What git says is the result. Raises ``ValueError`` without the name of a file below the working directory.

        Whoever writes the message decides the name, and nobody is asked before the file is written.
        """
        file, _, text = argument.partition(" ")
        cwd = self._display.options.cwd.resolve()
        path = (cwd / file).resolve()
        if path == cwd or not path.is_relative_to(cwd) or ".git" in path.relative_to(cwd).parts:
            raise ValueError("commit needs a file below the working directory")
        self._has_output = True
        said = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
            for arguments in (("add", "--", file), (*_IDENTITY, "commit", "-m", f"Add {file}", "--", file)):
                git = ChildProcess(("git", *arguments), os.environ, b"")
                said = git.wait().decode(errors="replace").strip()
                if git.status:
                    break
        except OSError as error:
            said = str(error)
        if said:
            self._results.append(said)


def _call_in(argument: str) -> tuple[str, dict[str, object]]:
    """Name and input of the tool. Raises ``ValueError``."""
    tool, _, given = argument.partition(" ")
    tool_input = json.loads(given or "{}")
    return tool, tool_input if isinstance(tool_input, dict) else {}


def _nothing() -> None:
    """There is nothing to cancel."""
