"""The rig itself: made and removed as a whole."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.rig.commands import RigError, run
from tests.cluster.rig.hosts import Keys, RigHost
from tests.cluster.rig.network import Network, Record, clear_away_the_lost, remove

_PROGRAMS = ("ip", "unshare", "nsenter", "setpriv", "ssh", "ssh-keygen", "rsync")


def why_no_rig() -> str:
    """Why hosts cannot be made on this machine; empty when they can."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if not Path("/usr/sbin/sshd").exists():
        missing.append("sshd")
    if missing:
        return f"{', '.join(missing)} missing: run scripts/setup --cluster"
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    try:
        run("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true")
    except RigError as error:
        return f"namespaces cannot be made here: {error}"
    return ""


class Rig:
    """``with Rig(directory, 3) as rig``: three hosts that run, named ``host2`` to ``host4`` like their addresses."""

    def __init__(self, directory: Path, hosts: int, keep: Sequence[Path] = ()) -> None:
        """``directory`` holds all that they write and is not removed here."""
        self._directory = directory
        self._numbers = range(2, 2 + hosts)
        self._keep = keep
        self._network = Network(secrets.token_hex(3))
        namespaces = [self._network.namespace(number) for number in self._numbers]
        self._record = Record(self._network.bridge, namespaces)
        self._namespaces = namespaces
        self._keys = Keys(directory / "keys")
        self.hosts: list[RigHost] = []

    @property
    def private_key(self) -> Path:
        return self._keys.private

    @property
    def own_address(self) -> str:
        """Of this machine in the hosts' network."""
        return self._network.address(1)

    def __enter__(self) -> Self:
        clear_away_the_lost()
        self._record.write()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _make(self) -> None:
        self._keys.directory.mkdir(parents=True, mode=0o700)
        self._keys.make()
        self._network.make()
        for number in self._numbers:
            directory = self._directory / f"host{number}"
            self.hosts.append(RigHost(self._network, number, directory, self._keys, self._keep))
        for host in self.hosts:
            host.start()

    def _remove(self) -> None:
        for host in self.hosts:
            host.lose_power()
        remove(self._network.bridge, self._namespaces)
        self._record.remove()
