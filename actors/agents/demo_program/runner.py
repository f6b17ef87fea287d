"""Performs the demo's turns: work, tools with their permission, menus, commits; one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.agents.demo_program.children import Child
from actors.agents.demo_program.hooks import decision_in
from actors.agents.demo_program.paint import DialogView
from actors.agents.demo_program.stage import TOOL_LOG, Dialog, Stage
from actors.agents.demo_program.turn import (
    Act,
    Choose,
    Commit,
    Crash,
    Outcome,
    SwallowEnter,
    Turn,
    UseTool,
    Work,
    turn,
)

_NOTIFY_AFTER_S = 6.0
_REJECTED = (
    "The user doesn't want to proceed with this tool use. The tool use was rejected. STOP what you are doing and wait "
    "for the user to tell you how to proceed."
)
_IDENTITY = ("-c", "user.name=demo", "-c", "user.email=demo@localhost")


class Runner:
    """``finished`` is called after every turn, however it ended."""

    def __init__(self, stage: Stage, finished: Callable[[], None]) -> None:
        self._stage = stage
        self._finished = finished
        self._turn: Turn | None = None
        self._prompts: tuple[str, ...] = ()
        self._cancel: Callable[[], None] = _nothing
        self._hooks: list[Child] = []
        self._has_output = False

    @property
    def busy(self) -> bool:
        return self._turn is not None

    def begin(self, prompts: Sequence[str]) -> None:
        self._prompts = tuple(prompts)
        self._turn = turn(prompts, self._stage.options.work_s)
        self._has_output = False
        self._stage.busy = True
        self._perform(next(self._turn))

    def interrupt(self) -> None:
        """Escape: before any output the last prompt goes back into the input box, as if it had never been sent."""
        stage = self._stage
        if not self._has_output and not stage.queued and not stage.draft.shown:
            stage.conversation.pop()
            stage.draft.replace(self._prompts[-1])
        else:
            stage.transcript.interrupted(during_tool=False)
            stage.say("tool", "Interrupted · What should Claude do instead?")
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
            case Work(None):
                return
            case Work(float(seconds)):
                self._cancel = self._stage.loop.later(seconds, self._advance)
            case UseTool(tool, tool_input):
                self._use(tool, tool_input)
            case Choose(question, options):
                self._choose(question, options)
            case Commit(file, text):
                self._commit(file, text)
            case SwallowEnter():
                self._stage.swallow_enter = True
                self._advance()
            case Crash(status):
                self._stage.loop.stop(status)
        self._stage.repaint()

    def _conclude(self, outcome: Outcome) -> None:
        stage = self._stage
        stage.say("agent", outcome.text)
        if outcome.error:
            stage.transcript.failure(outcome.text, outcome.error, outcome.status)
            stage.hooks.fire("StopFailure", error=outcome.error, last_assistant_message=outcome.text)
        else:
            stage.transcript.answer(outcome.text)
            stage.hooks.fire("Stop", stop_hook_active=False, last_assistant_message=outcome.text)
        self._close()

    def _close(self) -> None:
        if self._turn is not None:
            self._turn.close()
        self._turn = None
        self._cancel()
        self._cancel = _nothing
        self._stage.dialog = None
        self._stage.busy = False
        self._finished()

    def _use(self, tool: str, tool_input: dict[str, Any]) -> None:
        """Shows the dialog and starts the hooks; whoever decides first, decides."""
        stage = self._stage
        self._has_output = True
        call_id = stage.transcript.tool_call(tool, tool_input)
        shown = ", ".join(str(value) for value in tool_input.values())
        stage.say("agent", f"{tool}({shown})")
        view = DialogView(
            title=f"{tool} command",
            body=(shown,),
            question="Do you want to proceed?",
            options=("Yes", "Yes, and don't ask again", "No"),
        )

        def decide(allow: bool, message: str) -> None:
            if stage.dialog is dialog:
                self._decided(call_id, UseTool(tool, tool_input), allow, message)

        def choose(option: int | None) -> None:
            if option in {0, 1}:
                decide(True, "")
            else:
                self._reject(call_id)

        dialog = stage.dialog = Dialog(view, choose)
        for hook in stage.hooks.ask(tool, tool_input):
            self._watch(hook, decide)
        self._cancel = stage.loop.later(_NOTIFY_AFTER_S, self._notify)

    def _watch(self, hook: Child, decide: Callable[[bool, str], None]) -> None:
        self._hooks.append(hook)

        def collect() -> None:
            output = hook.output
            if hook.collect():
                self._stage.loop.forget(output)
                self._hooks.remove(hook)
                if decision := decision_in(hook.printed):
                    decide(*decision)

        self._stage.loop.on_readable(hook.output, collect)

    def _notify(self) -> None:
        self._stage.hooks.fire(
            "Notification", message="Claude needs your permission", notification_type="permission_prompt"
        )

    def _decided(self, call_id: str, call: UseTool, allow: bool, message: str) -> None:
        stage = self._stage
        self._cancel()
        stage.dialog = None
        result = f"{call.tool} ran" if allow else message
        if allow:
            stage.note(TOOL_LOG, tool=call.tool, tool_input=call.tool_input)
            fields = {"tool_name": call.tool, "tool_input": call.tool_input, "tool_use_id": call_id}
            stage.hooks.fire("PostToolUse", **fields, tool_response=result)
        stage.transcript.tool_result(call_id, result, error=not allow)
        stage.say("tool", result)
        self._take_in_queued()
        self._advance(result)

    def _take_in_queued(self) -> None:
        """What was queued meanwhile becomes part of the turn, without a hook, as in Claude Code."""
        stage = self._stage
        for text in stage.queued:
            stage.transcript.injected(text)
            stage.say("user", text)
        stage.queued.clear()

    def _reject(self, call_id: str) -> None:
        stage = self._stage
        for hook in self._hooks:
            hook.end()
        stage.transcript.tool_result(call_id, _REJECTED, error=True)
        stage.transcript.interrupted(during_tool=True)
        stage.say("tool", "Interrupted · What should Claude do instead?")
        self._close()

    def _choose(self, question: str, options: tuple[str, ...]) -> None:
        self._has_output = True

        def choose(option: int | None) -> None:
            self._stage.dialog = None
            if option is None:
                self.interrupt()
            else:
                self._advance(options[option])

        view = DialogView(
            title="Question", body=(question,), question="", options=options, hint="Enter to select · Esc to cancel"
        )
        self._stage.dialog = Dialog(view, choose)

    def _commit(self, file: str, text: str) -> None:
        self._has_output = True
        try:
            said = _committed(self._stage.options.cwd, file, text)
        except OSError as error:
            said = str(error)
        self._advance(said)


def _committed(directory: Path, file: str, text: str) -> str:
    """What git said. Raises ``OSError`` for a file that cannot be written and when there is no git."""
    path = directory / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    for arguments in (("add", "--", file), (*_IDENTITY, "commit", "-m", f"Add {file}", "--", file)):
        git = Child(("git", *arguments), os.environ, b"")
        said = git.wait().decode(errors="replace").strip()
        if git.status:
            break
    return said


def _nothing() -> None:
    """There is nothing to cancel."""
