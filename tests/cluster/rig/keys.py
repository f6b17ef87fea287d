"""The keys by which the test gets into the hosts of its rig, made for it alone, and sshd's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.rig.commands import run

_CONFIG = """\
ListenAddress {address}
HostKey {host_key}
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
MaxStartups 100
MaxSessions 100
"""


@dataclass(frozen=True, slots=True)
class Keys:
    directory: Path

    @property
    def private(self) -> Path:
        return self.directory / "key"

    def make(self) -> None:
        for name in ("key", "host_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rig", "-f", str(self.directory / name))

    def write_server_config(self, path: Path, address: str) -> None:
        path.write_text(
            _CONFIG.format(
                address=address,
                host_key=self.directory / "host_key",
                authorized=self.directory / "key.pub",
            )
        )
