"""Says a trouble once and not each time that it is met again: a loop that tries again must not fill the log."""

from __future__ import annotations

import logging


class Trouble:
    """One thing that may go wrong for a while."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._said = ""

    @property
    def lasts(self) -> bool:
        return bool(self._said)

    def met(self, error: BaseException) -> None:
        """Said when it is another one than before."""
        if str(error) != self._said:
            self._said = str(error)
            self._logger.warning("%s: %s", self._what, error)

    def over(self) -> None:
        if self._said:
            self._said = ""
            self._logger.info("%s: no more", self._what)
