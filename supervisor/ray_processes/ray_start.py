"""Ray's start command. Each of its three changes is left out where a newer Ray has no place for it.

Its workers are started by ``worker``, no process for the dashboard is started, and the command itself becomes
``head_wait`` when there is nothing left to do but to wait.
"""

from __future__ import annotations

import os
import sys
from functools import partialmethod
from inspect import signature
from pathlib import Path
from typing import Any

import psutil
from ray._private import node, parameter
from ray.scripts import scripts

from supervisor.ray_processes.worker import PROGRAM_NAME

_PROGRAM = Path(__file__).resolve().parent.parent / PROGRAM_NAME
_WAITS = Path(__file__).resolve().with_name("head_wait.py")
_PARAMETER = "worker_path"


def _start_no_dashboard(_node: object, **_options: object) -> None:
    """In place of ``Node.start_api_server``."""


def _wait(_log: str) -> None:
    """In place of what Ray's command does first when it begins to wait."""
    servers = [str(child.pid) for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(_WAITS), *servers])  # noqa: S606


if __name__ == "__main__":
    its_parameters: Any = parameter.RayParams
    if _PARAMETER in signature(its_parameters).parameters:
        its_parameters.__init__ = partialmethod(its_parameters.__init__, **{_PARAMETER: str(_PROGRAM)})
    its_node: Any = node.Node
    its_node.start_api_server = _start_no_dashboard
    command: Any = scripts
    command.setup_process_exit_logger = _wait
    command.main()
