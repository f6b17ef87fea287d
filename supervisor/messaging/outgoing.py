"""A text that a caller wants delivered, and the check of it. Pure; ``MessageSender``, spawns and the outbox use it."""

from __future__ import annotations

from dataclasses import dataclass

from actors.errors import InvalidRequestError
from actors.instance.inbox import SanitizedText, clean
from supervisor.api.requests import MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    instance_id: str
    text: str
    immediate: bool = False
    fault: str = ""
    """Why it is refused already: the caller gave a malformed message."""


def check_text(text: str) -> SanitizedText:
    """The text without control characters. Raises ``InvalidRequestError`` when it is too long or empty."""
    cleaned = clean(text)
    size_bytes = len(cleaned.text.encode())
    if size_bytes > MAX_MESSAGE_BYTES:
        raise InvalidRequestError(
            f"The message has {size_bytes} bytes; at most {MAX_MESSAGE_BYTES} are possible. "
            "Put long material into a file and send its path."
        )
    if not cleaned.text.strip():
        raise InvalidRequestError("The message is empty once control characters are removed: send some text.")
    return cleaned
