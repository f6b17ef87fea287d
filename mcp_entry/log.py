"""The entry's own log, for whoever looks for what went wrong; ``__main__`` opens it."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def log_to(path: Path) -> None:
    """Everything that this process logs or warns of goes to ``path`` (0600). Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    handler = logging.StreamHandler(os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("mcp_entry").setLevel(logging.INFO)
    logging.captureWarnings(True)
