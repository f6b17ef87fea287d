"""Messages for tests of an instance."""

from __future__ import annotations

from actors.messages import Message


def message(text: str = "text", name: str = "a", *, immediate: bool = False) -> Message:
    return Message(id=f"msg_{name}", instance_id="i", sender="lead", text=text, immediate=immediate, accepted_at=0.0)
