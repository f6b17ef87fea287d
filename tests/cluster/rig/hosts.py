"""One host of the rig, and the keys to all of them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.rig.commands import RigError, login_home, run
from tests.cluster.rig.network import Network

_INIT = Path(__file__).with_name("host_init.py")
_SSH_OPTIONS = (
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
    *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"),
)
_START_S = 20.0
_POLL_S = 0.05
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
    """The keys by which the test gets into the hosts of its rig, made for it alone, and sshd's configuration."""

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


class RigHost:
    """``start``, ``lose_power`` and ``start`` again; ``cut`` and ``heal`` its network; ``ssh`` into it."""

    def __init__(self, network: Network, number: int, directory: Path, keys: Keys, keep: Sequence[Path]) -> None:
        """``directory``: on the real disk, for all that the host writes. ``keep``: see ``host_init``."""
        self.name = f"host{number}"
        self.directory = directory
        self.address = network.connect(number)
        self._network = network
        self._number = number
        self._keys = keys
        self._keep = (*keep, keys.directory)
        self._init: subprocess.Popen[bytes] | None = None
        for own in ("home", "tmp"):
            (directory / own).mkdir(parents=True)
        (directory / "tmp").chmod(0o1777)
        keys.write_server_config(directory / "sshd_config", self.address)

    @property
    def home(self) -> Path:
        """Of its user, as this machine sees it."""
        return self.directory / "home"

    @property
    def namespace(self) -> str:
        """Of its network, for a program of this machine that is to be where its 127.0.0.1 is."""
        return self._network.namespace(self._number)

    def start(self) -> None:
        """Returns when its sshd answers. Raises ``RigError``."""
        # The chain ends with this process, whatever ends it: each link is told to die with the one above it.
        command = (
            *("setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.namespace),
            *("unshare", "--mount", "--uts", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child"),
            *(
                sys.executable,
                "-P",
                str(_INIT),
                str(self.directory),
                self.name,
                str(login_home()),
                *map(str, self._keep),
            ),
        )
        with (self.directory / "init.log").open("ab") as log:
            self._init = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._init.poll() is not None or time.monotonic() > deadline:
                raise RigError(f"{self.name} did not start: {(self.directory / 'init.log').read_text()[-2000:]}")
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        try:
            self.ssh("true")
        except RigError:
            return False
        return True

    def lose_power(self) -> None:
        """Every process of it is gone at once; what it had written to disk is there when it starts again."""
        if self._init is None:
            return
        self._init.kill()
        self._init.wait()
        self._init = None

    def cut(self) -> None:
        self._network.cut(self._number)

    def heal(self) -> None:
        self._network.heal(self._number)

    def ssh(self, *command: str, timeout_s: float = 20.0) -> str:
        """What the command printed, run by ssh as its user. Raises ``RigError``."""
        return run(*self.over_ssh(*command), timeout_s=timeout_s)

    def over_ssh(self, *command: str) -> Sequence[str]:
        """The program on this machine that runs the command there."""
        target = f"{os.environ.get('USER', 'root')}@{self.address}"
        return "ssh", *_SSH_OPTIONS, "-i", str(self._keys.private), target, shlex.join(command)

    def inside(self, *command: str, timeout_s: float = 20.0) -> str:
        """The same without network: for a host that is cut off."""
        if self._init is None:
            raise RigError(f"{self.name} has no power")
        (first,) = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        return run("nsenter", "--target", first, "--all", "--", *command, timeout_s=timeout_s)
