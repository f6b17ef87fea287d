"""A program for a pane: reads its terminal byte by byte as an agent does and appends what comes to a file.

``python raw_reader.py FILE``: raw mode, bracketed paste on; creates FILE when it is ready.
"""

from __future__ import annotations

import os
import sys
import tty


def main() -> None:
    tty.setraw(0)
    os.write(1, b"\x1b[?2004hready")
    received = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    while data := os.read(0, 65536):
        os.write(received, data)


main()
