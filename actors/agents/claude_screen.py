"""What one capture of Claude Code's pane shows; pure. Whatever is not understood reads as ABSENT."""

from __future__ import annotations

import re

from actors.agents.base import Composer, Dialog, Screen
from actors.agents.claude_box import InputBox, find_box
from actors.agents.claude_dialog import SUSPENDED, read_dialog
from actors.agents.styled import Row, read_capture

_SHOWN_ROWS = 12
_SHOWN_WIDTH = 160

_NOT_LOGGED_IN = re.compile(r"  (?:\S.*  | {20,})Not logged in · Run /login\s*")
"""At the right end of the row of hints; what a status line says begins at the left."""
_TROUBLES = {
    "trust": "Claude Code asks whether to trust the working directory",
    "api key": "Claude Code asks whether to use the API key of the environment",
    "bypass warning": "Claude Code asks to confirm the mode bypassPermissions",
    "login": "Claude Code is not logged in: run claude once and log in",
    "theme": "Claude Code was never set up for this user: run claude once and answer its questions",
    "onboarding": "Claude Code was never set up for this user: run claude once and answer its questions",
    "settings warning": "Claude Code warns of its settings",
    "mcp servers": "Claude Code asks whether to use the MCP servers of the project's .mcp.json",
    "external imports": "Claude Code asks whether CLAUDE.md may import files from outside of the working directory",
    "make auto default": "Claude Code asks whether to make auto its default permission mode",
    "managed settings": "Claude Code asks to approve the settings that its administrator manages",
    "auto mode": "Claude Code asks how to go on in mode auto, whose safety check is not available",
}
"""By the kind of a dialog that stands in the way of a start."""
_SUSPENDED_WORDS = (
    "Claude Code reads no keys. If it was suspended (Ctrl-Z), it goes on when its process is sent SIGCONT."
)
_UNKNOWN_HOOK = "Unknown hook event"
_TOO_OLD = "This Claude Code is too old for Phalanx: its settings dialog names hooks it does not know"
_NO_CONNECTION = "Unable to connect to Anthropic services"
_TROUBLE_NO_CONNECTION = "Claude Code cannot reach Anthropic's services"


def read_screen(styled: str) -> Screen:
    """See ``Agent.read_screen``."""
    rows, cursor = read_capture(styled)
    while rows and rows[-1].blank:
        rows.pop()
    if cursor is not None and cursor.row < 0:
        return _of_deaf_program(rows)
    box = find_box(rows, cursor)
    if box is None:
        return _without_composer(rows)
    if box.bash_mode:
        dialog = Dialog(kind="bash mode", question="What is typed into the input box runs as a command of the shell.")
        return Screen(composer=Composer.ABSENT, dialog=dialog, busy=box.busy, shown=_shown(rows))
    return _with_composer(box)


def _with_composer(box: InputBox) -> Screen:
    typed = box.typed()
    return Screen(
        composer=Composer.DRAFT if typed or box.scrolled else Composer.EMPTY,
        draft=typed.rstrip("\n"),
        scrolled=box.scrolled,
        dialog=Dialog(kind="completion") if box.menu else None,
        busy=box.busy,
        trouble=_trouble_beside(box),
    )


def _trouble_beside(box: InputBox) -> str:
    if box.retrying:
        return f"the API does not answer: Claude Code tries again (attempt {box.retrying})"
    return _TROUBLES["login"] if any(_NOT_LOGGED_IN.fullmatch(row.text) for row in box.below) else ""


def _of_deaf_program(rows: list[Row]) -> Screen:
    """Claude Code has not begun, or was suspended: it may still draw its box, but nobody reads what is typed."""
    suspended = find_box(rows, None) is not None or any(SUSPENDED.match(row.text) for row in rows)
    dialog = Dialog(kind="suspended", question=_SUSPENDED_WORDS) if suspended else None
    return Screen(composer=Composer.ABSENT, dialog=dialog, shown=_shown(rows))


def _without_composer(rows: list[Row]) -> Screen:
    dialog = read_dialog(rows)
    return Screen(composer=Composer.ABSENT, dialog=dialog, trouble=_trouble(rows, dialog), shown=_shown(rows))


def _trouble(rows: list[Row], dialog: Dialog | None) -> str:
    if dialog is None:
        return _TROUBLE_NO_CONNECTION if any(row.text.strip().startswith(_NO_CONNECTION) for row in rows) else ""
    if dialog.kind == "settings warning" and _UNKNOWN_HOOK in dialog.question:
        return _TOO_OLD
    return _TROUBLES.get(dialog.kind, "")


def _shown(rows: list[Row]) -> str:
    """The last rows in words; a rule or frame says nothing."""
    words = [" ".join(row.text.split())[:_SHOWN_WIDTH] for row in rows if any(map(str.isalnum, row.text))]
    return "\n".join(words[-_SHOWN_ROWS:])
