"""How many answers of a conversation have been read: what remembers it for the actors to come.

``Conversation`` keeps it, in the instance's own directory, so that after a restart of anybody only what is new counts
as unread. It is not synced: what a power cut takes is counted as unread once more, and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

MARK_NAME = "read.json"


class ReadMark:
    def __init__(self, directory: Path) -> None:
        self._path = directory / MARK_NAME

    def of(self, transcript: Path) -> int:
        """How many answers of this transcript have been read; none of one that was never read."""
        try:
            found = json.loads(self._path.read_text())
            return int(found["answers"]) if found["transcript"] == transcript.name else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s cannot be read (%s): all counts as unread", self._path, error)
            return 0

    def set(self, transcript: Path, answers: int) -> None:
        unfinished = self._path.with_suffix(".new")
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"transcript": transcript.name, "answers": answers}, file)
            unfinished.replace(self._path)
        except OSError as error:
            logger.warning("%s cannot be written (%s): what was read will count as unread again", self._path, error)
