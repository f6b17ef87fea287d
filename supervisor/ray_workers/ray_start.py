"""Ray's start command, with ``worker`` as the program of its workers."""

from __future__ import annotations

from functools import partialmethod
from pathlib import Path
from typing import Any

from ray._private import parameter
from ray.scripts import scripts

from supervisor.ray_workers.worker import PROGRAM_NAME

_PROGRAM = Path(__file__).resolve().parent.parent / PROGRAM_NAME

if __name__ == "__main__":
    its_parameters: Any = parameter.RayParams
    its_parameters.__init__ = partialmethod(its_parameters.__init__, worker_path=str(_PROGRAM))
    command: Any = scripts.main
    command()
