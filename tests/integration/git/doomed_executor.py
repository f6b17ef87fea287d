"""One write of the executor in a process of its own, which the test kills: ``python -m … USER_HOME DIRECTORY``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from actors.git.executor import GitExecutor
from actors.git.model import GitRequest
from tests.integration.git.conftest import ALL

if __name__ == "__main__":
    executor = GitExecutor({"HOME": sys.argv[1], "PATH": os.environ["PATH"]})
    executor.write([GitRequest(directory=Path(sys.argv[2]), operation=ALL)])
