"""Answering what an agent waits for: a permission request, or a dialog at its terminal; called by the instance.

A permission request is answered through the hook that waits for it: no key is pressed. A dialog that no hook announced
is answered at its terminal: the pointer is moved to the option that was named and Enter is pressed on it, or the key is
pressed that the dialog names for it, each key only after a look that still shows this very dialog. Nothing is pressed
where the screen does not tell which option a key would take.

A key that answers is pressed once: a second one might answer the next dialog, which may look the same. A program that
has just drawn its dialog may not read keys yet, or ignore them. So the dialog has to have stood for a while before that
key, and where there is a pointer an arrow has to have moved it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

from actors.agents.base import Agent, Composer, Decision, Dialog
from actors.agents.permissions import answer
from actors.errors import InvalidRequestError, UnavailableError, WrongStateError
from actors.instance.observer import Observer
from actors.instance.state import PendingPermission, decided, in_words
from actors.tmux.pane import Key, Pane

_LOOK_S = 0.05
_TYPING_PATIENCE_S = 3.0
_MOVED_S = 6.0
"""How long a key may take to show."""
_AGAIN_S = 1.5
"""An arrow that shows no effect is pressed again then: it may have been lost, and only moves the pointer."""
_STOOD_S = 0.5
"""For so long a dialog has to stand before the key that answers it. Newer versions of Claude Code ignore keys within
0.2 s of drawing a dialog, and an arrow that was pressed twice may move the pointer once more."""
_CHANGED = "The dialog has changed meanwhile: look at it again."

_DISMISSABLE = frozenset(
    {
        "auto mode",
        "external imports",
        "help",
        "history search",
        "make auto default",
        "mcp",
        "mcp servers",
        "menu",
        "model",
        "permission",
        "permission rules",
        "plan",
        "question",
        "resume",
        "rewind",
        "settings",
        "transcript view",
    }
)
"""Dialogs in which Escape declines or closes, and ends nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The lead's answer. One of ``allow`` and ``option`` is given."""

    allow: bool | None = None
    option: str = ""
    """Words of the option to choose."""
    message: str = ""
    """With a denial: what to do instead. With AskUserQuestion: the answer."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """With AskUserQuestion: the answer to each question, by its words."""
    permission_id: str = ""
    """Answer this request and no other."""
    question: str | None = None
    """Answer the dialog with this question, however its lines are broken, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredPrompt:
    """What was answered: one of the two."""

    permission: PendingPermission | None = None
    dialog: Dialog | None = None


@asynccontextmanager
async def typing_alone(lock: asyncio.Lock, patience_s: float) -> AsyncIterator[None]:
    """Holds the typing lock. Raises ``UnavailableError`` when a message is still being typed after ``patience_s``."""
    try:
        async with asyncio.timeout(patience_s):
            await lock.acquire()
    except TimeoutError:
        raise UnavailableError("A message is being typed into this instance just now: try again.") from None
    try:
        yield
    finally:
        lock.release()


class Responder:
    """Of one agent in its pane. ``typing`` is held while keys go to the pane."""

    def __init__(self, agent: Agent, pane: Pane, observer: Observer, directory: Path, typing: asyncio.Lock) -> None:
        self._agent = agent
        self._pane = pane
        self._observer = observer
        self._directory = directory
        self._typing = typing

    async def respond(self, reply: Reply) -> AnsweredPrompt:
        """Raises ``WrongStateError`` when nothing waits or something else does, ``InvalidRequestError`` for an answer
        that it cannot take, ``UnavailableError`` when the terminal does not follow."""
        self._observer.read_spool()
        waiting = self._observer.state.permissions
        if waiting and reply.question is not None:
            raise WrongStateError(
                f"Nothing was answered: it waits for permission to use {waiting[0].tool} by now, and not for an answer "
                "to the dialog. Look first."
            )
        if waiting or reply.permission_id:
            return AnsweredPrompt(permission=self._decide(waiting, reply))
        async with typing_alone(self._typing, _TYPING_PATIENCE_S):
            return AnsweredPrompt(dialog=await self._answer_dialog(reply))

    def _decide(self, waiting: tuple[PendingPermission, ...], reply: Reply) -> PendingPermission:
        asked = next((one for one in waiting if reply.permission_id in ("", one.request_id)), None)
        if asked is None:
            other = f"but another one, for {waiting[0].tool}" if waiting else "and no other does"
            raise WrongStateError(
                f"Nothing was answered: the request {reply.permission_id} waits no more, {other}. "
                "Call list and look first."
            )
        decision = _decision(asked, reply)
        taken = answer(self._directory, asked.request_id, self._agent.permission_answer(decision))
        allowed = taken and decision.allow
        self._observer.change(decided(self._observer.state, asked.request_id, time.monotonic(), allowed=allowed))
        if not taken:
            raise WrongStateError(f"The request to use {asked.tool} was answered at the terminal meanwhile.")
        return asked

    async def _answer_dialog(self, reply: Reply) -> Dialog:
        dialog = await self._dialog()
        if dialog is None:
            raise WrongStateError(
                f"It waits for no permission and shows no dialog (it is {self._observer.state.status}). "
                "Call list to see who waits."
            )
        if reply.question is not None and _words(reply.question) != _words(dialog.question):
            raise WrongStateError(f"Nothing was answered: that dialog is gone, and {in_words(dialog)}. Look first.")
        if reply.option:
            wanted = _index_of(dialog, reply.option)
            if dialog.keys:
                await self._press(dialog.keys[wanted], await self._settled(dialog))
            else:
                await self._press("Enter", await self._pointed(dialog, wanted))
        elif reply.allow is False and dialog.kind in _DISMISSABLE:
            await self._press("Escape", await self._settled(dialog))
        else:
            raise InvalidRequestError(
                f"This dialog is no permission request: name one of its options as option ({_named(dialog)}), "
                "or attach and answer it."
            )
        return dialog

    async def _pointed(self, dialog: Dialog, wanted: int) -> Dialog:
        """The dialog once its pointer stands at this option, and was moved there where there is another option."""
        now, moved = dialog, len(dialog.options) == 1
        for _ in range(2 * len(dialog.options) + 2):
            if now.chosen is None:
                raise InvalidRequestError("Its screen does not show which option is chosen: attach and answer it.")
            if now.chosen != wanted or not moved:
                down = now.chosen < wanted or wanted == now.chosen < len(dialog.options) - 1
                now, moved = await self._move("Down" if down else "Up", now), True
            elif (settled := await self._settled(now)) == now:
                return now
            else:
                now = settled
        raise UnavailableError("The dialog does not follow the keys: attach and answer it.")

    async def _settled(self, shown: Dialog) -> Dialog:
        """The dialog once it has stood as it is for a while. Its pointer may have moved before."""
        deadline = time.monotonic() + _MOVED_S
        stood_at = time.monotonic() + _STOOD_S
        while time.monotonic() < stood_at:
            if time.monotonic() > deadline:
                raise UnavailableError("The pointer of the dialog does not stand still: attach and answer it.")
            await asyncio.sleep(_LOOK_S)
            now = await self._dialog()
            if not _is_same(now, shown):
                raise WrongStateError(_CHANGED)
            if now != shown:
                shown, stood_at = now, time.monotonic() + _STOOD_S
        return shown

    async def _move(self, arrow: Key, shown: Dialog) -> Dialog:
        """The dialog once its pointer is elsewhere than ``shown``."""
        await self._pane.press(arrow)
        pressed_at = time.monotonic()
        deadline = pressed_at + _MOVED_S
        while (now := await self._dialog()) == shown:
            if time.monotonic() > deadline:
                raise UnavailableError(f"The dialog does not follow the key {arrow}: attach and answer it.")
            if time.monotonic() > pressed_at + _AGAIN_S:
                await self._pane.press(arrow)
                pressed_at = time.monotonic()
            await asyncio.sleep(_LOOK_S)
        if not _is_same(now, shown):
            raise WrongStateError(_CHANGED)
        return now

    async def _press(self, key: Key, shown: Dialog) -> None:
        """Presses the key that answers, and returns when the dialog has moved on."""
        await self._pane.press(key)
        deadline = time.monotonic() + _MOVED_S
        while await self._dialog() == shown:
            if time.monotonic() > deadline:
                raise UnavailableError(f"The dialog shows no effect of the key {key}: attach and look at it.")
            await asyncio.sleep(_LOOK_S)

    async def _dialog(self) -> Dialog | None:
        screen = await self._observer.look()
        return screen.dialog if screen.composer is Composer.ABSENT else None


def _is_same(now: Dialog | None, shown: Dialog) -> TypeGuard[Dialog]:
    """But for where the pointer is."""
    return now is not None and replace(now, chosen=shown.chosen) == shown


def _decision(asked: PendingPermission, reply: Reply) -> Decision:
    asks = asked.tool == "AskUserQuestion"
    if reply.option and not asks:
        raise InvalidRequestError(f"It waits for permission to use {asked.tool}: give decision, not option.")
    if reply.answers and not asks:
        raise InvalidRequestError(f"answers is for questions; it waits for permission to use {asked.tool}.")
    return Decision(
        allow=bool(reply.allow or reply.option),
        message=reply.option or reply.message,
        answers=reply.answers,
        tool=asked.tool,
        tool_input=asked.tool_input,
    )


def _index_of(dialog: Dialog, option: str) -> int:
    """By its words, or by its number as it is listed."""
    words = _words(option)
    found = [index for index, each in enumerate(dialog.options) if _words(each) == words]
    if not found and words.isdecimal() and 1 <= int(words) <= len(dialog.options):
        found = [int(words) - 1]
    if len(found) != 1:
        raise InvalidRequestError(f"The dialog has no option {option!r}. It has: {_named(dialog)}.")
    return found[0]


def _words(text: str) -> str:
    return " ".join(text.split())


def _named(dialog: Dialog) -> str:
    return "; ".join(f"{number}. {each}" for number, each in enumerate(dialog.options, 1)) or "none that can be named"
