"""One merge in a process of its own, which the test kills: ``python -m … BASE CHECK…``, as ``merging.Merging`` does."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.git.merging import Merging

if __name__ == "__main__":
    Merging(Path(sys.argv[1])).merge("one", "two", check=tuple(sys.argv[2:]))
