"""Ray on this host of a cluster: started with the options that a team needs, and ended by process id. Imports no Ray.

The cluster launcher runs ``python -m supervisor.ray_node head|worker|stop`` on each host (``cluster.yaml``). When a
command fails, the reason goes to stderr and the exit code is 1. ``ray stop`` kills by substring everything on the
machine that looks like a Ray, of any user and cluster. Here a process is ours when it carries the mark of the home,
which Ray's processes inherit. Every call blocks.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from actors.errors import PhalanxError, SettingsError, UnavailableError
from actors.files import write_private
from actors.home import Home, home_from, led_node_from
from actors.marks import NODE_MARK, UMASK_MARK
from actors.nodes import HOST_LABEL, SLOT, slots_for
from actors.processes import allow_many_files, end_all_found, own_umask, processes_with
from supervisor.ray_processes.worker import DIRECTORY as WORKERS_DIRECTORY
from supervisor.runtime import Runtime
from supervisor.runtime.environment import TOKEN_FILE, agent_environment, cluster_environment
from supervisor.runtime.ray_head import HeadWatch, ray_command, start_detached
from supervisor.settings import Settings

# Every port on which Ray listens here; docs/cluster.md lists them for the firewall. Ray would choose most of them by
# itself, and then a firewall could only let everything through.
HEAD_PORT = 6390
"""Ray's control store on the head; workers and drivers connect to it first. Ray's default is the port of Redis."""
NODE_PORTS: Mapping[str, int] = {
    "--node-manager-port": 6391,
    "--object-manager-port": 6392,
    "--runtime-env-agent-port": 6393,
    "--dashboard-agent-listen-port": 6394,
    "--dashboard-agent-grpc-port": 6395,
    "--metrics-export-port": 6396,
}
CLIENT_SERVER_PORT = 6397
"""On the head, and only if grpcio is installed."""
WORKER_PORTS = range(20_000, 22_000)
"""One for each worker process of a host: an instance's actor is one."""
_OBJECT_STORE_BYTES = 200_000_000
"""Small, because code travels through it in small pieces."""
LOG_NAME = "ray-node.log"
_START_S = 120.0
_OTHERS_S = 60.0
_TRIES = 3
_POLL_S = 0.1
_LAUNCHER_PREFIXES = ("RAY_enable_autoscaler_v2", "RAY_CLOUD_INSTANCE_", "RAY_NODE_TYPE_NAME", "RAY_OVERRIDE_")


def start_node(
    home: Home,
    environment: Mapping[str, str],
    *,
    head_address: str,
    autoscaling_config: Path | None,
    slots: int | None,
    labels: str,
) -> str:
    """Ends an earlier Ray of this home and starts a new one; returns its output. Agents go on, and are adopted.

    The arguments are those of ``start_command``; without ``slots`` the memory decides. Raises ``PhalanxError`` when it
    does not come up; then nothing of it is left.
    """
    if left := end_node(home):
        raise UnavailableError(f"An earlier Ray of {home.root} does not end: {[each.pid for each in left]}")
    home.create()
    write_private(home.login_file, json.dumps(agent_environment(environment, {}, "")))
    _check_token(Path(environment.get("HOME", "~")).expanduser() / TOKEN_FILE)
    home.node_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    led_node_from(home, head_address.rpartition(":")[0])
    allow_many_files(os.getpid())
    slots = slots or slots_for(psutil.virtual_memory().total)
    command = start_command(home, head_address, autoscaling_config, slots, labels)
    variables = node_environment({UMASK_MARK: own_umask(), **environment}, home)
    lost = ""
    for _ in range(_TRIES):
        try:
            return _start(command, variables, home.logs / LOG_NAME)
        except UnavailableError as error:
            end_node(home)
            if not isinstance(error, _LostError):
                raise
            lost = str(error)
    raise UnavailableError(f"Ray did not start on this host in {_TRIES} tries, the last time because {lost}.")


def _start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> str:
    """Ray's output, once it is up. Raises ``UnavailableError``; then the caller ends what has come up."""
    process = start_detached(command, environment, log)
    try:
        _wait(process)
    finally:
        process.kill()
        process.wait()
    output = log.read_text(errors="replace")
    if process.returncode < 0:
        raise _LostError(f"the program that starts it was ended by signal {-process.returncode}")
    if process.returncode:
        raise UnavailableError(f"Ray did not start on this host:\n{output[-3000:]}")
    return output


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Returns when the process has ended. Raises ``_LostError`` when it waits for a process that has ended."""
    watch = HeadWatch(process.pid)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
            return
        # "head" means that the process has ended, and the wait above returns as soon as it is reaped. Another name is
        # asked for twice, because the end of the process also ends what it was seen with.
        if (which := watch.ended()) not in ("", "head") and watch.ended() != "head":
            raise _LostError(f"Ray's {which} ended")
    raise UnavailableError(f"Ray did not start within {_START_S:.0f} s.")


class _LostError(UnavailableError):
    """A process of Ray ended during the start; another try may work."""


def _check_token(path: Path) -> None:
    """Makes the token private: a user that can read it controls the cluster, and Ray lets every user read it."""
    if not path.is_file():
        raise SettingsError(
            f"There is no {path}: without Ray's token nobody may join. Make it once on your own machine "
            "(ray get-auth-token --generate) and let file_mounts of cluster.yaml bring it to the hosts."
        )
    with suppress(PermissionError):
        path.chmod(0o600)
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} can be read by others: chmod 600 {path}")


def stop_node(home: Home) -> list[str]:
    """Ends the team that was brought up from this host, then Ray; on the head first that of all other hosts.

    Returns notes for people.
    """
    notes: list[str] = []
    try:
        notes += Runtime(home, Settings()).end_here().notes
    except PhalanxError as error:
        notes.append(f"The team was not brought down: {error}")
    notes += _stop_others(home)
    left = end_node(home)
    led_node_from(home, "")
    if left:
        raise UnavailableError(f"These processes of Ray do not end even when killed: {[each.pid for each in left]}")
    return notes


def _stop_others(home: Home) -> list[str]:
    """No-op where no head runs."""
    address = _address_of_head(home)
    if not address:
        return []
    command = (sys.executable, "-P", "-m", "supervisor.stop_other_nodes", address)
    try:
        asked = subprocess.run(
            command,
            env=node_environment(os.environ, home),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_OTHERS_S,
            check=False,
        )
        silent = asked.returncode
    except subprocess.TimeoutExpired:
        silent = 1
    return [f"{silent} other host(s) could not be asked to end their Ray: it ends in a minute."] if silent else []


def _address_of_head(home: Home) -> str:
    """Empty when none runs here."""
    for process in processes_with(NODE_MARK, str(home.root)):
        with suppress(psutil.Error):
            if process.name() == "gcs_server":
                words = process.cmdline()
                own = next(word.partition("=")[2] for word in words if word.startswith("--node-ip-address="))
                return f"{own}:{HEAD_PORT}"
    return ""


def end_node(home: Home) -> list[psutil.Process]:
    """Kills every Ray process of this home on this host; returns those that do not end."""
    return end_all_found(lambda: processes_with(NODE_MARK, str(home.root)), grace_s=0)


def start_command(
    home: Home, head_address: str, autoscaling_config: Path | None, slots: int, labels: str
) -> tuple[str, ...]:
    """Ray's own command for this host; it returns when Ray is up.

    ``head_address``: the "address:port" of the head for a worker; empty for the head itself. ``labels``:
    "key=value,…", as ``ray start`` takes them.
    """
    names = ",".join(filter(None, (f"{HOST_LABEL}={socket.gethostname()}", labels)))
    return ray_command(
        _OBJECT_STORE_BYTES,
        *([f"--address={head_address}"] if head_address else _head_options(home, autoscaling_config)),
        *(f"{option}={port}" for option, port in NODE_PORTS.items()),
        *(f"--min-worker-port={WORKER_PORTS.start}", f"--max-worker-port={WORKER_PORTS.stop - 1}"),
        f"--labels={names}",
        f"--resources={json.dumps({SLOT: slots})}",
    )


def _head_options(home: Home, autoscaling_config: Path | None) -> Sequence[str]:
    scaling = f"--autoscaling-config={autoscaling_config.absolute()}" if autoscaling_config else "--no-monitor"
    client = [] if importlib.util.find_spec("grpc") is None else [f"--ray-client-server-port={CLIENT_SERVER_PORT}"]
    own = ["--head", f"--port={HEAD_PORT}", "--include-dashboard=false", f"--temp-dir={home.node_directory}"]
    return [*own, scaling, *client]


def node_environment(given: Mapping[str, str], home: Home) -> dict[str, str]:
    """The environment of Ray and its workers: that of a cluster, and what the launcher tells them."""
    of_launcher = {name: value for name, value in given.items() if name.startswith(_LAUNCHER_PREFIXES)}
    own = {NODE_MARK: str(home.root), WORKERS_DIRECTORY: str(home.node_directory)}
    return {**cluster_environment(given, home), **of_launcher, **own}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/host", description="Ray on this host of a cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    head = commands.add_parser("head", help="starts Ray's head")
    head.add_argument("--autoscaling-config", type=Path, help="as the cluster launcher gives it")
    head.set_defaults(address="")
    worker = commands.add_parser("worker", help="starts Ray and joins the head's")
    worker.add_argument("--address", required=True, help="ADDRESS:PORT of the head")
    worker.set_defaults(autoscaling_config=None)
    for starts in (head, worker):
        starts.add_argument("--slots", type=int, help="instances that the host has room for; default: by its memory")
        starts.add_argument("--labels", default="", help="KEY=VALUE,… by which a spawn may choose the host")
    commands.add_parser("stop", help="ends the team that was brought up here, and Ray")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    home = home_from(os.environ)
    try:
        if given.command == "stop":
            notes = stop_node(home)
            print("\n".join([*notes, "Nothing of the team and of its Ray runs on this host."]))
        else:
            output = start_node(
                home,
                os.environ,
                head_address=given.address,
                autoscaling_config=given.autoscaling_config,
                slots=given.slots,
                labels=given.labels,
            )
            print(output)
    except PhalanxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
