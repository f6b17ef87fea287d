"""The size of a window, which is that of who looks into it and otherwise its own. Standard library only."""

from __future__ import annotations

COLUMNS, ROWS = 200, 50
"""The size of a window that nobody looks into, or one column more: room for whole dialogs."""

_WIDER = "@phalanx_wider"


def own_size(target: str = "") -> str:
    """The tmux command that gives a window its own size: of one column more than the last time, or one less.

    A program learns that its window has changed a moment later and looks only at the size that it has by then. Were
    that the size that it knows, it would not draw again what tmux has cut off meanwhile. Claude Code draws all of its
    screen again for another width, not for another height.
    """
    to = f"-t {target} " if target else ""
    return (
        f"if-shell -F {to}'#{{{_WIDER}}}' "
        f"{{ resize-window {to}-x {COLUMNS} -y {ROWS} ; set-option -w {to}-u {_WIDER} }} "
        f"{{ resize-window {to}-x {COLUMNS + 1} -y {ROWS} ; set-option -w {to}{_WIDER} 1 }} ; "
        # resize-window makes a window keep that size whoever comes.
        f"set-option -w {to}-u window-size"
    )
