"""What the demo does with keys: the input box, its traps, dialogs, the queue, the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from actors.agents.demo.stage import PROMPT_LOG, Dialog, Stage
from actors.agents.demo.terminal import DialogView, Input, Key, KeyReader, Pasted, Typed
from actors.agents.demo.turns import Runner

_ESCAPE_ALONE_S = 0.03
_TWICE_S = 0.8
_COMMAND_CHARACTERS = ("!", "/")
_REWIND = DialogView(
    title="Rewind",
    body=("Restore the conversation to the point before…",),
    question="",
    options=("(current)",),
    hint="Enter to continue · Esc to cancel",
)


class Session:
    """``leave`` is called when the user asks twice for the way out."""

    def __init__(self, stage: Stage, leave: Callable[[], None]) -> None:
        self._stage = stage
        self._leave = leave
        self._runner = Runner(stage, self._submit_queued)
        self._keys = KeyReader()
        self._pressed_once: Key | None = None

    def take_early(self, data: bytes) -> None:
        """What was typed before the input box was usable: the text stays, every Enter is lost."""
        self._take(each for each in self._keys.feed(data) if each is not Key.ENTER)

    def take(self, data: bytes) -> None:
        self._take(self._keys.feed(data))
        if self._keys.waits:
            self._stage.loop.later(_ESCAPE_ALONE_S, lambda: self._take(self._keys.flush()))

    def _take(self, inputs: Iterable[Input]) -> None:
        taken = False
        for each in inputs:
            taken = True
            if self._stage.dialog:
                _press_in_dialog(self._stage.dialog, each)
            else:
                self._press(each)
        if taken:  # most reads are pieces of one long paste
            self._stage.repaint()

    def _press(self, each: Input) -> None:
        draft = self._stage.draft
        match each:
            case Typed(text):
                draft.type(text)
            case Pasted(text):
                draft.paste(text)
            case Key.NEWLINE:
                draft.type("\n")
            case Key.BACKSPACE:
                draft.backspace()
            case Key.CTRL_U:
                draft.clear()
            case Key.ENTER:
                self._enter()
            case Key.ESCAPE:
                self._escape()
            case Key.CTRL_C:
                self._control_c()

    def _enter(self) -> None:
        stage = self._stage
        if stage.swallow_enter:
            stage.swallow_enter = False
        elif stage.draft.mention:
            stage.draft.complete_mention()
        elif not stage.draft.escape_enter() and (text := stage.draft.text).strip():
            stage.draft.clear()
            self._send(text)

    def _send(self, text: str) -> None:
        stage = self._stage
        if text.startswith(_COMMAND_CHARACTERS):
            stage.note(PROMPT_LOG, command=text)
            stage.say("program", f"Unknown command: {text}")
        elif self._runner.busy:
            stage.transcript.queued(text)
            stage.queued.append(text)
        else:
            self._submit([text], "typed")

    def _submit(self, prompts: Sequence[str], source: str) -> None:
        stage = self._stage
        for prompt in prompts:
            told = stage.hooks.told()
            stage.note(PROMPT_LOG, prompt=prompt, **({"told": told} if told else {}))
            stage.hooks.fire("UserPromptSubmit", prompt=prompt)
            stage.transcript.prompt(prompt, source)
            stage.say("user", prompt)
        self._runner.begin(prompts)

    def _submit_queued(self) -> None:
        stage = self._stage
        prompts = list(stage.queued)
        stage.queued.clear()
        for _ in prompts:
            stage.transcript.dequeued()
        if prompts:
            self._submit(prompts, "queued")
        stage.repaint()

    def _escape(self) -> None:
        if self._runner.busy:
            self._runner.interrupt()
        elif not self._twice(Key.ESCAPE, "Esc again to clear" if self._stage.draft.shown else ""):
            return
        elif self._stage.draft.shown:
            self._stage.draft.clear()
        else:
            self._stage.dialog = Dialog(_REWIND, lambda _: self._close_dialog())

    def _control_c(self) -> None:
        if self._runner.busy:
            self._runner.interrupt()
            return
        if self._stage.draft.shown and self._pressed_once is Key.CTRL_C:
            return  # Claude Code takes it for the second press, and does not leave because of the draft
        self._stage.draft.clear()
        if self._twice(Key.CTRL_C, "Press Ctrl-C again to exit"):
            self._leave()

    def _twice(self, key: Key, hint: str) -> bool:
        """True when the same key was pressed shortly before; otherwise says so in the hint for that time."""
        if self._pressed_once is key:
            self._forget_key()
            return True
        self._pressed_once = key
        self._stage.hint = hint
        self._stage.loop.later(_TWICE_S, self._forget_key)
        return False

    def _forget_key(self) -> None:
        self._pressed_once = None
        self._stage.hint = ""
        self._stage.repaint()

    def _close_dialog(self) -> None:
        self._stage.dialog = None


def _press_in_dialog(dialog: Dialog, each: Input) -> None:
    """Enter takes the option with the pointer and a digit its own; all other text is lost."""
    match each:
        case Key.ENTER:
            dialog.choose(dialog.view.chosen)
        case Key.UP | Key.DOWN:
            dialog.move(1 if each is Key.DOWN else -1)
        case Key.ESCAPE | Key.CTRL_C:
            dialog.choose(None)
        case Typed(text) if text.isdecimal() and 1 <= int(text) <= len(dialog.view.options):
            dialog.choose(int(text) - 1)
