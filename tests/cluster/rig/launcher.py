"""``ray up`` and ``ray down`` of the shipped ``cluster.yaml`` on the hosts of a rig, as a person runs them.

What the hosts would install is already there, as on a second ``ray up``: they see this checkout's environment, since a
rig has no way to package registries. All else is what happens on real machines.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.processes import end_processes, processes_with
from tests.cluster.rig.commands import login_home, run
from tests.cluster.rig.hosts import RigHost

ROOT = Path(__file__).resolve().parents[3]
_UP_S = 240.0
_DOWN_S = 90.0


class Launcher:
    """The person's own machine: a home with a key and a token, and this checkout."""

    def __init__(self, directory: Path, key: Path, hosts: Sequence[RigHost], slots: int = 0) -> None:
        """``slots``: instances that each host is said to have room for; 0: by its memory."""
        self._directory = directory
        self._hosts = hosts
        self._home = directory / "user"
        self._config = directory / "cluster.yaml"
        (self._home / ".ray").mkdir(parents=True)
        for name in ("ray", "tmp"):
            (directory / name).mkdir()
        config = _filled_in((ROOT / "cluster.yaml").read_text(), key, hosts)
        self._config.write_text(_with_slots(config, slots) if slots else config)
        run(*self._ray("get-auth-token", "--generate"), environment=self.environment)
        for host in hosts:
            provide_environment(host)

    @property
    def environment(self) -> Mapping[str, str]:
        passed = {name: os.environ[name] for name in ("PATH", "LANG", "USER") if name in os.environ}
        own = {"HOME": self._home, "RAY_TMPDIR": self._directory / "ray", "TMPDIR": self._directory / "tmp"}
        return {**passed, **{name: str(path) for name, path in own.items()}, "TERM": "dumb"}

    def up(self, *options: str) -> str:
        """What it said."""
        command = self._ray("up", "--yes", "--no-config-cache", *options, str(self._config))
        return run(*command, timeout_s=_UP_S, environment=self.environment, directory=ROOT)

    def down(self) -> str:
        command = self._ray("down", "--yes", str(self._config))
        return run(*command, timeout_s=_DOWN_S, environment=self.environment, directory=ROOT)

    def close(self) -> None:
        """The launcher's ssh connections would last ten seconds longer."""
        end_processes(processes_with("HOME", str(self._home)), grace_s=2.0)
        for directory in (*Path("/tmp").glob("ray_ssh_*/*"), *Path("/tmp").glob("ray_ssh_*")):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def _ray(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "ray.scripts.scripts", *words)


def _filled_in(shipped: str, key: Path, hosts: Sequence[RigHost]) -> str:
    """As a person fills it in. The capitals are gone then."""
    head, *workers = (host.address for host in hosts)
    lines = {
        r"head_ip: .*": f"head_ip: {head}",
        r"worker_ips: .*": f"worker_ips: [{', '.join(workers)}]",
        r"ssh_user: .*": f"ssh_user: {os.environ.get('USER', 'root')}",
        r"ssh_private_key: .*": f"ssh_private_key: {key}",
    }
    for pattern, line in lines.items():
        shipped, times = re.subn(rf"(?m)(?<=^  ){pattern}$", line, shipped)
        assert times == 1, pattern
    return shipped


def _with_slots(config: str, slots: int) -> str:
    changed, times = re.subn(r"(scripts/host (?:head|worker) )", rf"\1--slots={slots} ", config)
    assert times == 2
    return changed


def provide_environment(host: RigHost) -> None:
    """``~/phalanx/.venv`` of the host: this checkout's, with the note that it was made there."""
    ours, theirs = ROOT / ".venv", host.home / "phalanx" / ".venv"
    theirs.mkdir(parents=True)
    for name in ("bin", "lib", "claude"):
        (theirs / name).symlink_to(ours / name)
    shutil.copy(ours / "pyvenv.cfg", theirs)
    shutil.copytree(ours / "setup-stamps", theirs / "setup-stamps")
    (theirs / "setup-stamps" / "root").write_text(f"{login_home() / 'phalanx'}\n")
