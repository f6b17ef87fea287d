"""Delays imports that Ray makes in each of its processes and hardly ever uses. Python runs this at the start.

Every instance has a Ray process, and a quarter of its start cost are libraries with which Ray calls its dashboard,
clouds and runtime environments. They are still loaded on first use. This directory comes first in the ``PYTHONPATH`` of
Ray's processes (``supervisor.runtime.environment``), so another ``sitecustomize`` is hidden; ``run_next`` runs it.
Standard library only, because it runs before the project's code can be imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

_NAME = "sitecustomize"


class LazyModule(ModuleType):
    """Stands in for a library until its first use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library(), name)

    def _library(self) -> ModuleType:
        name = self.__name__
        if sys.modules.get(name) is self:
            sys.modules.pop(name, None)
        return importlib.import_module(name)  # waits if another thread is loading it


class LazyRequests(LazyModule):
    """Ray makes a session on import, in case it will call its dashboard."""

    @property
    def Session(self) -> Callable[[], Any]:  # noqa: N802 - its name there
        return lambda: _Deferred(lambda: self._library().Session())


class _Deferred:
    """Stands in for the result of ``make`` until its first use."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def put_off(name: str, kind: type[LazyModule] = LazyModule) -> None:
    """Delays the library's import until its first use. No-op when it is not installed or already imported."""
    spec = PathFinder.find_spec(name)
    if spec is not None and name not in sys.modules:
        later = kind(name)
        later.__spec__ = spec
        sys.modules[name] = later


def run_next() -> None:
    """Runs the ``sitecustomize`` that this one hides."""
    own = os.path.dirname(__file__)  # noqa: PTH120 - pathlib costs more than all that is done here
    spec = PathFinder.find_spec(_NAME, [entry for entry in sys.path if entry != own])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == _NAME:
    put_off("jsonschema")
    put_off("tarfile")
    put_off("yaml")
    put_off("requests", LazyRequests)
    run_next()
