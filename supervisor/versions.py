"""The version of this process. It is read once, at the start, because an installation may be replaced while it runs."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("phalanx")
