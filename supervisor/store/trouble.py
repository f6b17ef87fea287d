"""What is wrong with the copy in Redis, for people: said once in the log, and in the store's health while it lasts."""

from __future__ import annotations

import logging
import time

from actors.errors import PhalanxError
from supervisor.store.redis import CopyDamagedError, CopyHeldError, CopyMovedError, CopyVersionError
from supervisor.store.redis_client import RedisServer, explain
from supervisor.store.sessions import SessionsVersionError

logger = logging.getLogger(__name__)


class PartedError(PhalanxError):
    """The copy has something that the file lacks. The text is the end of a sentence, see ``sessions.parted``."""


class Trouble:
    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._words = ""
        self._since = 0.0

    @property
    def warning(self) -> str:
        """Empty when nothing is wrong."""
        if not self._words:
            return ""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._since))
        return (
            f"Redis ({self._server.shown}) {self._words}. The team goes on with the file in its home alone, since "
            f"{since}; Redis is brought up to date by itself when it can be used again."
        )

    def note(self, error: BaseException) -> None:
        """A further error of the same trouble changes what is shown and is not logged again."""
        begins = not self._words
        self._words = words(error, self._server)
        if begins:
            self._since = time.time()
            logger.warning("%s", self.warning)

    def end(self) -> None:
        if self._words:
            self._words = ""
            logger.warning(
                "Redis (%s) is up to date again, after %.0f s.", self._server.shown, time.time() - self._since
            )


def words(error: BaseException, server: RedisServer) -> str:
    """The end of a sentence that begins with the name of the server."""
    match error:
        case CopyHeldError():
            return f"is in use by another supervisor of this team ({error})"
        case CopyMovedError() | CopyDamagedError():
            return f"does not keep the copy as it was written: {error}"
        case PartedError():
            return str(error)
        case CopyVersionError() | SessionsVersionError():
            return f"holds a copy that {error}"
        case PhalanxError():
            return f"cannot be brought up to date: {error}"
        case _:
            return explain(error, server)
