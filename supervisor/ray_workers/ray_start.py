"""Ray's start command, with ``worker`` as the program of its workers where this Ray lets one choose it."""

from __future__ import annotations

from functools import partialmethod
from inspect import signature
from pathlib import Path
from typing import Any

from ray._private import parameter
from ray.scripts import scripts

from supervisor.ray_workers.worker import PROGRAM_NAME

_PROGRAM = Path(__file__).resolve().parent.parent / PROGRAM_NAME
_PARAMETER = "worker_path"

if __name__ == "__main__":
    its: Any = parameter.RayParams
    if _PARAMETER in signature(its).parameters:
        its.__init__ = partialmethod(its.__init__, **{_PARAMETER: str(_PROGRAM)})
    command: Any = scripts.main
    command()
