"""One write of the hands in a process of its own, which the test kills: ``python -m … USER_HOME DIRECTORY``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from actors.git.executor import GitHands
from actors.git.model import Asked
from tests.integration.git.conftest import ALL

if __name__ == "__main__":
    hands = GitHands({"HOME": sys.argv[1], "PATH": os.environ["PATH"]})
    hands.write([Asked(directory=Path(sys.argv[2]), operation=ALL)])
