"""What the demo does with keys: the input box, its traps, dialogs, the queue, the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from actors.agents.demo.display import PROMPT_LOG, Display, OpenDialog
from actors.agents.demo.terminal import DialogView, Input, Key, KeyReader, PastedText, TypedKey
from actors.agents.demo.turns import TurnRunner

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


class DemoSession:
    """``leave`` is called when the user asks twice for the way out."""

    def __init__(self, display: Display, leave: Callable[[], None]) -> None:
        self._display = display
        self._leave = leave
        self._runner = TurnRunner(display, self._submit_queued)
        self._keys = KeyReader()
        self._pressed_once: Key | None = None

    def take_early(self, data: bytes) -> None:
        """What was typed before the input box was usable: the text stays, every Enter is lost."""
        self._take(each for each in self._keys.feed(data) if each is not Key.ENTER)

    def take(self, data: bytes) -> None:
        self._take(self._keys.feed(data))
        if self._keys.waits:
            self._display.loop.later(_ESCAPE_ALONE_S, lambda: self._take(self._keys.flush()))

    def _take(self, inputs: Iterable[Input]) -> None:
        taken = False
        for each in inputs:
            taken = True
            if self._display.dialog:
                _press_in_dialog(self._display.dialog, each)
            else:
                self._press(each)
        if taken:  # most reads are pieces of one long paste
            self._display.repaint()

    def _press(self, each: Input) -> None:
        draft = self._display.draft
        match each:
            case TypedKey(text):
                draft.type(text)
            case PastedText(text):
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
        display = self._display
        if display.swallow_enter:
            display.swallow_enter = False
        elif display.draft.mention:
            display.draft.complete_mention()
        elif not display.draft.escape_enter() and (text := display.draft.text).strip():
            display.draft.clear()
            self._send(text)

    def _send(self, text: str) -> None:
        display = self._display
        if text.startswith(_COMMAND_CHARACTERS):
            display.note(PROMPT_LOG, command=text)
            display.say("program", f"Unknown command: {text}")
        elif self._runner.busy:
            display.transcript.queued(text)
            display.queued.append(text)
        else:
            self._submit([text], "typed")

    def _submit(self, prompts: Sequence[str], source: str) -> None:
        display = self._display
        for prompt in prompts:
            told = display.hooks.told()
            display.note(PROMPT_LOG, prompt=prompt, **({"told": told} if told else {}))
            display.hooks.fire("UserPromptSubmit", prompt=prompt)
            display.transcript.prompt(prompt, source)
            display.say("user", prompt)
        self._runner.begin(prompts)

    def _submit_queued(self) -> None:
        display = self._display
        prompts = list(display.queued)
        display.queued.clear()
        for _ in prompts:
            display.transcript.dequeued()
        if prompts:
            self._submit(prompts, "queued")
        display.repaint()

    def _escape(self) -> None:
        if self._runner.busy:
            self._runner.interrupt()
        elif not self._twice(Key.ESCAPE, "Esc again to clear" if self._display.draft.shown else ""):
            return
        elif self._display.draft.shown:
            self._display.draft.clear()
        else:
            self._display.dialog = OpenDialog(_REWIND, lambda _: self._close_dialog())

    def _control_c(self) -> None:
        if self._runner.busy:
            self._runner.interrupt()
            return
        if self._display.draft.shown and self._pressed_once is Key.CTRL_C:
            return  # Claude Code takes it for the second press, and does not leave because of the draft
        self._display.draft.clear()
        if self._twice(Key.CTRL_C, "Press Ctrl-C again to exit"):
            self._leave()

    def _twice(self, key: Key, hint: str) -> bool:
        """True when the same key was pressed shortly before; otherwise says so in the hint for that time."""
        if self._pressed_once is key:
            self._forget_key()
            return True
        self._pressed_once = key
        self._display.hint = hint
        self._display.loop.later(_TWICE_S, self._forget_key)
        return False

    def _forget_key(self) -> None:
        self._pressed_once = None
        self._display.hint = ""
        self._display.repaint()

    def _close_dialog(self) -> None:
        self._display.dialog = None


def _press_in_dialog(dialog: OpenDialog, each: Input) -> None:
    """Enter takes the option with the pointer and a digit its own; all other text is lost."""
    match each:
        case Key.ENTER:
            dialog.choose(dialog.view.chosen)
        case Key.UP | Key.DOWN:
            dialog.move(1 if each is Key.DOWN else -1)
        case Key.ESCAPE | Key.CTRL_C:
            dialog.choose(None)
        case TypedKey(text) if text.isdecimal() and 1 <= int(text) <= len(dialog.view.options):
            dialog.choose(int(text) - 1)
