"""The version of this process: an installation may be replaced while it runs, so it is read once, at its start."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("phalanx")
