"""Python runs this when a process of Ray starts: what Ray loads in each and hardly ever uses is loaded when it is used.

Every instance has a process of Ray, and a quarter of what it costs to start one are libraries with which Ray speaks to
its dashboard, to clouds and to runtime environments. Nothing is left out, only later. The directory of this file stands
first in the ``PYTHONPATH`` of Ray's processes (``supervisor.runtime.environment``), hence before a ``sitecustomize`` of
somebody else, which is run afterwards. Standard library only: it runs before anything of ours can be found.
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
    """In place of a library until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library(), name)

    def _library(self) -> ModuleType:
        name = self.__name__
        if sys.modules.get(name) is self:
            sys.modules.pop(name, None)
        return importlib.import_module(name)  # waits for a thread that is just loading it


class LazyRequests(LazyModule):
    """Ray makes a session when it is loaded, for the case that its dashboard will be asked something."""

    @property
    def Session(self) -> Callable[[], Any]:  # noqa: N802 - its name there
        return lambda: _Deferred(lambda: self._library().Session())


class _Deferred:
    """In place of what ``make`` makes until something of it is used."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def put_off(name: str, kind: type[LazyModule] = LazyModule) -> None:
    """From now on the library is loaded when it is used; one that is not installed, or loaded already, is left so."""
    spec = PathFinder.find_spec(name)
    if spec is not None and name not in sys.modules:
        later = kind(name)
        later.__spec__ = spec
        sys.modules[name] = later


def run_next() -> None:
    """The ``sitecustomize`` that Python would have run without this one."""
    own = os.path.dirname(__file__)  # noqa: PTH120 - pathlib costs more than all that is done here
    spec = PathFinder.find_spec(_NAME, [entry for entry in sys.path if entry != own])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == _NAME:
    put_off("jsonschema")
    put_off("requests", LazyRequests)
    run_next()
