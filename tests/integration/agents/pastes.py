"""What tests have happen right before or after a paste."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.tmux.pane import LastKey, Pane

Happening = Callable[[Pane], Awaitable[None]]
SetAttribute = Callable[[Any, str, object], None]


async def _nothing(_pane: Pane) -> None:
    """Happens."""


def around_pastes(
    set_attribute: SetAttribute = setattr, *, before: Happening = _nothing, after: Happening = _nothing
) -> None:
    """From now on, for every pane. ``set_attribute`` is that of a ``MonkeyPatch`` where it has to end."""
    paste = Pane.paste

    async def paste_between(pane: Pane, *arguments: Any) -> LastKey | None:
        await before(pane)
        last_key = await paste(pane, *arguments)
        await after(pane)
        return last_key

    set_attribute(Pane, "paste", paste_between)
