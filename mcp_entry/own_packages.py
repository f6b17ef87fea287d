"""Whether our packages are ours: others have packages of the same names, and Python takes the first that it finds.

``launch`` asks before it imports anything of ours, because what a foreign package leads to is an error from anywhere.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("actors", "supervisor")
"""Names of ours that others have too: PyPI has a ``supervisor`` and an ``actors``."""
_ROOT = Path(__file__).resolve().parent.parent
_OWN_ENVIRONMENT = "Phalanx needs an environment of its own: `uv tool install`, `pipx install`, or a fresh venv."


def fault() -> str:
    """What is wrong with the packages of this process, and what to do; empty when nothing is."""
    return foreign_package(_ROOT, PACKAGES, _place_of)


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
