"""The first process of a host of the rig: lays out its file system, runs its sshd and collects what ends.

Runs as process 1 of a process namespace, so everything of the host ends with it. Standard library only::

    python -P host_init.py DIRECTORY NAME HOME KEEP...

``DIRECTORY`` is the host's on the real disk, with ``home``, ``tmp`` and ``sshd_config`` in it, ``HOME``
where the user's home is, and ``KEEP`` are directories that stay visible although they lie below what is covered.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_COVERED = {"/tmp": "tmp"}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _bind(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _run("mount", "--bind", str(source), str(target))


def lay_out(directory: Path, home: Path, keep: Sequence[Path]) -> None:
    """``/tmp`` and the user's home become the host's own."""
    places = {**_COVERED, str(home): "home"}
    aside = Path("/run/kept")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/sshd").mkdir(mode=0o755)
    for number, kept in enumerate((directory, *keep)):
        _bind(kept, aside / str(number))
    for place, own in places.items():
        _bind(aside / "0" / own, Path(place))
    for number, kept in enumerate((directory, *keep)):
        if any(kept.is_relative_to(place) for place in places):
            _bind(aside / str(number), kept)


def main(arguments: Sequence[str]) -> None:
    directory, name, home, *keep = arguments
    lay_out(Path(directory), Path(home), [Path(each) for each in keep])
    _run("hostname", name)
    server = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(Path(directory) / "sshd_config")],
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    while True:
        with suppress(ChildProcessError):
            ended, status = os.wait()
            if ended == server.pid:
                raise SystemExit(f"sshd ended ({status})")


if __name__ == "__main__":
    main(sys.argv[1:])
