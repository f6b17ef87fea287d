"""The version of this process, which the package's metadata are made from.

It is not read from them: that takes longer, and an installation may be replaced while it runs.
"""

from __future__ import annotations

VERSION = "0.1.0"
