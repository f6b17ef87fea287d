"""Starts the demo program by its path: an isolated interpreter does not know where its packages are."""

from __future__ import annotations

import sys

sys.path.append(__file__.rsplit("/actors/", 1)[0])

from actors.agents.demo.program import main

if __name__ == "__main__":
    sys.exit(main())
