"""What may be asked for a new worktree."""

from __future__ import annotations

MAX_COPIED_FILES = 50
SETUP_LIMIT_S = 300.0
"""How long a command that prepares a worktree may take."""
