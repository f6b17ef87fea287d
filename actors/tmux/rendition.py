"""Makes lines of a pane's capture that anybody may show: text and SGR sequences (``ESC [ … m``) alone; pure.

``capture-pane -e`` also prints hyperlinks (OSC 8) and shifts to the character set of line drawing, and a style runs on
over the end of a row. Here each line begins in the plain style and ends in it, line drawing is Unicode, and of all else
that is a control character nothing is left: what an agent prints reaches no terminal and no page as a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"\x1b\[(?P<style>[0-9;:]*)m"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b\[[0-9;:?<=>]*[ -/]*[@-~]"
    r"|(?P<shift>[\x0e\x0f])"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
)
"""Everything that is no text. Of these a style counts, and a shift."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_DRAWING = dict(
    zip(
        map(ord, "`afghijklmnopqrstuvwxyz{|}~+,-.0"),
        "◆▒°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·→←↑↓█",
        strict=True,
    )
)
_PLAIN = "\x1b[0m"
_ATTRIBUTES_OFF = {"22": ("1", "2"), "23": ("3",), "24": ("4", "21"), "25": ("5", "6"), "27": ("7",), "28": ("8",)}
_ATTRIBUTES_OFF |= {"29": ("9",), "55": ("53",)}
_COLOURS_OFF = {"39": "38", "49": "48", "59": "58"}
Style = dict[str, str]
"""By what it is about (``38`` the colour of the text, ``1`` bold, …) the parameters that set it."""


def styled_lines(capture: str) -> list[str]:
    """The lines of a capture, each in its own right."""
    style: Style = {}
    shifted = False
    lines = []
    for row in capture.split("\n"):
        line = [_sequence(style)]
        for text, token in _pieces(row):
            line.append(text.translate(_LINE_DRAWING) if shifted else text)
            if token is None:
                continue
            if token["shift"]:
                shifted = token["shift"] == "\x0e"
            elif token["style"] is not None:
                apply(style, token["style"])
                line.append(f"\x1b[{token['style']}m")
        lines.append("".join(line) + (_PLAIN if style else ""))
    return lines


def printable(text: str) -> str:
    """The text without control characters."""
    return _CONTROL.sub("", text)


def _pieces(row: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """The texts of a row, each with what comes after it."""
    at = 0
    for token in _TOKEN.finditer(row):
        yield row[at : token.start()], token
        at = token.end()
    yield row[at:], None


def _sequence(style: Style) -> str:
    return f"\x1b[{';'.join(style.values())}m" if style else ""


def apply(style: Style, parameters: str) -> None:
    """Changes the style as an SGR sequence with these parameters does."""
    codes = parameters.split(";")
    while codes:
        code = codes.pop(0)
        kind = code.partition(":")[0]
        if code in {"38", "48", "58"}:  # a colour follows: 5;N or 2;R;G;B
            length = 2 if codes[:1] == ["5"] else 4
            style[code] = ";".join([code, *codes[:length]])
            del codes[:length]
        elif kind in {"38", "48", "58"}:
            style[kind] = code
        elif code.strip("0") == "":
            style.clear()
        elif code in _COLOURS_OFF:
            style.pop(_COLOURS_OFF[code], None)
        elif code in _ATTRIBUTES_OFF:
            for attribute in _ATTRIBUTES_OFF[code]:
                style.pop(attribute, None)
        elif (about := _colour_set_by(code)) is not None:
            style[about] = code
        elif kind in {"1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "53"}:
            style[kind] = code


def _colour_set_by(code: str) -> str | None:
    """Of the 16 colours of a terminal: whether of the text (``38``) or of what is behind it (``48``)."""
    if not code.isdecimal():
        return None
    number = int(code)
    if 30 <= number <= 37 or 90 <= number <= 97:
        return "38"
    return "48" if 40 <= number <= 47 or 100 <= number <= 107 else None
