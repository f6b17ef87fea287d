"""The programs ``phalanx`` and ``phalanx-mcp``: what must hold before anything else is imported.

Their entry points are functions of this module. It imports the standard library only, because the rest takes half a
second. Ctrl-C in that time ends the process with 130 and without a traceback. A package of somebody else's that has the
name of one of ours is refused in words: what it would lead to is an error from anywhere.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""
PACKAGES = ("actors", "supervisor")
"""Names of ours that others have too: PyPI has a ``supervisor``."""
_ROOT = Path(__file__).resolve().parent.parent
_OWN_ENVIRONMENT = "Phalanx needs an environment of its own: `uv tool install`, `pipx install`, or a fresh venv."


def phalanx() -> None:
    """The command line."""
    _run("mcp_entry.cli.app")


def phalanx_mcp() -> None:
    """The MCP server of a lead."""
    _run("mcp_entry.__main__")


def _run(module: str) -> None:
    """Calls ``main`` of the module."""
    with _stopping_at_once():
        if fault := foreign_package(_ROOT, PACKAGES, _place_of):
            sys.exit(f"Phalanx cannot start: {fault}")
        main: Callable[[], None] = import_module(module).main
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(STOPPED)


@contextmanager
def _stopping_at_once() -> Iterator[None]:
    """In the block Ctrl-C ends the process on the spot: nothing was begun. One that ignores it goes on ignoring it."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(_number: int, _frame: FrameType | None) -> None:
    os._exit(STOPPED)  # an exception would pass through imports, which may turn it into another


def foreign_package(root: Path, packages: Sequence[str], place_of: Callable[[str], Path | None]) -> str:
    """What is wrong and what to do when one of the packages in ``root`` is not ours, or not ours alone; else empty.

    ``place_of`` gives the directory from which Python would import a package; None when there is none.
    """
    for name in packages:
        place = place_of(name)
        if place is None:
            return f"its package {root / name} has lost files. Install Phalanx again, with --force-reinstall."
        if place != root / name:
            return f"{place} comes before its own package {root / name} on Python's path. {_OWN_ENVIRONMENT}"
        others = [*root.glob(f"{name}-*.dist-info"), *root.glob(f"{name}-*.egg-info")]
        if others:
            distribution = " ".join(others[0].stem.split("-")[:2])
            return (
                f"{distribution} is installed in the same environment ({root}), and both have a package {name}, so "
                f"each overwrites files of the other. {_OWN_ENVIRONMENT} If {distribution} is not needed here, "
                "uninstall it, then install Phalanx again with --force-reinstall."
            )
    return ""


def _place_of(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
