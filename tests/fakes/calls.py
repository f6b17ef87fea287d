"""What fakes were asked to do, and which calls fail."""

from __future__ import annotations


class CallLog:
    """Several fakes may share one, so that it tells the order of their calls too."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        self.calls: list[str] = []
        """The attempts that did not fail."""
        self.errors: dict[str, Exception] = {}
        """Raised by a call, by its text or by its first word."""

    def call(self, text: str) -> None:
        self.attempts.append(text)
        error = self.errors.get(text) or self.errors.get(text.partition(" ")[0])
        if error is not None:
            raise error
        self.calls.append(text)
