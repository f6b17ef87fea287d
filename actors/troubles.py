"""Logs a recurring problem once, so that a loop that retries does not fill the log."""

from __future__ import annotations

import logging


class Trouble:
    """One problem that may last for a while. ``what`` says in the log what goes wrong."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._said = ""

    @property
    def lasts(self) -> bool:
        return bool(self._said)

    def met(self, error: BaseException) -> None:
        """Logs the error unless it is the same as before."""
        if str(error) != self._said:
            self._said = str(error)
            self._logger.warning("%s: %s", self._what, error)

    def over(self) -> None:
        """Logs once that the problem is gone."""
        if self._said:
            self._said = ""
            self._logger.info("%s: no more", self._what)
