"""Starting and ending Ray on this host.

Starting Ray on this host and ending it again, and nothing of anybody else's.

``ray stop`` kills by substring whatever on the machine looks like a Ray, of whichever user and cluster. Here a process
is ours when it carries the mark of the home, which Ray's processes hand on to each other. Everything blocks.

What ``ray start`` is told on a host, and with which environment. Pure but for the look at what is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from actors.errors import PhalanxError, SettingsError, UnavailableError
from actors.files import write_private
from actors.home import Home, led_node_from
from actors.marks import NODE_MARK, UMASK_MARK
from actors.nodes import HOST_LABEL, SLOT
from actors.processes import allow_many_files, end_all_found, no_signal_blocked, own_umask, processes_with
from supervisor.ray_node.ports import CLIENT_SERVER, HEAD, NODE_OPTIONS, WORKERS
from supervisor.runtime import Runtime
from supervisor.runtime.environment import RAY_SETTINGS, agent_environment, kept_for_ray, kept_for_tls, python_path
from supervisor.runtime.ray_head import HeadWatch
from supervisor.runtime.tear_down import TOKEN_FILE
from supervisor.settings import HOME_VARIABLE, Settings

_OBJECT_STORE_BYTES = 200_000_000
"""Code travels through it in small pieces."""
_FOR_THE_LAUNCHER = ("RAY_enable_autoscaler_v2", "RAY_CLOUD_INSTANCE_", "RAY_NODE_TYPE_NAME", "RAY_OVERRIDE_")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """``head_address``: "address:port" of the head for a worker, empty for the head itself."""

    head_address: str
    autoscaling_config: Path | None
    cpus: int
    slots: int
    name: str
    """Of the host, in lists and selectors."""
    labels: str
    """Further ones, "key=value,…", as ``ray start`` takes them."""
    temporary: Path
    """Ray's own directory; its sockets limit the length of the path."""


def start_command(options: NodeOptions) -> tuple[str, ...]:
    """Ray's own command for this host; it returns when Ray is up."""
    return (
        *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start"),
        *(_of_a_worker(options) if options.head_address else _of_the_head(options)),
        *(f"{option}={port}" for option, port in NODE_OPTIONS.items()),
        *(f"--min-worker-port={WORKERS.start}", f"--max-worker-port={WORKERS.stop - 1}"),
        *("--include-log-monitor=false", "--disable-usage-stats"),
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--num-cpus={options.cpus}",
        f"--labels={','.join(filter(None, (f'{HOST_LABEL}={options.name}', options.labels)))}",
        f"--resources={json.dumps({SLOT: options.slots})}",
    )


def _of_the_head(options: NodeOptions) -> Sequence[str]:
    scaling = [f"--autoscaling-config={options.autoscaling_config}"] if options.autoscaling_config else ["--no-monitor"]
    client = [] if importlib.util.find_spec("grpc") is None else [f"--ray-client-server-port={CLIENT_SERVER}"]
    own = ["--head", f"--port={HEAD}", "--include-dashboard=false", f"--temp-dir={options.temporary}"]
    return [*own, *scaling, *client]


def _of_a_worker(options: NodeOptions) -> Sequence[str]:
    return [f"--address={options.head_address}"]


def node_environment(given: Mapping[str, str], home: Home) -> dict[str, str]:
    """What Ray and its workers run with: the basics, Ray's hygiene, and what the launcher and TLS need."""
    passed = {name: value for name, value in given.items() if name.startswith(_FOR_THE_LAUNCHER)}
    return {
        **kept_for_ray(given),
        **python_path(),
        **RAY_SETTINGS,
        **kept_for_tls(given),
        **passed,
        HOME_VARIABLE: str(home.root),
        NODE_MARK: str(home.root),
    }


_START_S = 120.0
_OTHERS_S = 60.0
_TRIES = 3
_LOOK_EVERY_S = 0.1


def start_node(home: Home, options: NodeOptions, environment: Mapping[str, str]) -> str:
    """What Ray said. An earlier one of this home is ended before; agents of the team go on, and are adopted.

    Raises ``PhalanxError`` when it does not come up; then nothing of it is left.
    """
    if left := end_node(home):
        raise UnavailableError(f"An earlier Ray of {home.root} does not end: {[each.pid for each in left]}")
    home.create()
    write_private(home.login_file, json.dumps(agent_environment(environment, {}, "")))
    _check_token(Path(environment.get("HOME", "~")).expanduser() / TOKEN_FILE)
    options.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
    led_node_from(home, options.head_address.rpartition(":")[0])
    allow_many_files(os.getpid())
    command, variables = start_command(options), node_environment({UMASK_MARK: own_umask(), **environment}, home)
    lost = ""
    for _ in range(_TRIES):
        try:
            return _start(command, variables)
        except UnavailableError as error:
            end_node(home)
            if not isinstance(error, _LostError):
                raise
            lost = str(error)
    raise UnavailableError(f"Ray did not start on this host in {_TRIES} tries, the last time because {lost}.")


class _LostError(UnavailableError):
    """A process of Ray ended while it was starting: another try may do better."""


def _start(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What Ray said, once it is up. Raises ``UnavailableError``; what has come up so far is the caller's to end."""
    with tempfile.TemporaryFile() as output:
        with no_signal_blocked():
            process = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                umask=0o077,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait(process)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode < 0:
        raise _LostError(f"the program that starts it was ended by signal {-process.returncode}")
    if process.returncode:
        raise UnavailableError(f"Ray did not start on this host:\n{said[-3000:]}")
    return said


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Returns when it has ended. Raises ``_LostError`` when it waits for something that has ended."""
    watch = HeadWatch(process.pid)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_EVERY_S)
            return
        if (which := watch.ended()) and process.poll() is None:
            raise _LostError(f"Ray's {which} ended")
    raise UnavailableError(f"Ray did not start within {_START_S:.0f} s.")


def stop_node(home: Home) -> list[str]:
    """Ends the team that was brought up from this host, then Ray here; on the head, that of all other hosts before.

    Returns what there is to say about it.
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
    """Does nothing where no head runs."""
    address = _address_of_head(home)
    if not address:
        return []
    command = (sys.executable, "-P", "-m", "supervisor.ray_node.stop_others", address)
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
                return f"{own}:{HEAD}"
    return ""


def end_node(home: Home) -> list[psutil.Process]:
    """Kills every Ray process of this home on this host; returns what does not end all the same."""
    return end_all_found(lambda: processes_with(NODE_MARK, str(home.root)), grace_s=0)


def _check_token(path: Path) -> None:
    """Whoever can read the token has the whole cluster. Ray makes the file readable for everybody."""
    if not path.is_file():
        raise SettingsError(
            f"There is no {path}: without Ray's token nobody may join. Make it once on your own machine "
            "(ray get-auth-token --generate) and let file_mounts of cluster.yaml bring it to the hosts."
        )
    with suppress(PermissionError):
        path.chmod(0o600)
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} can be read by others: chmod 600 {path}")
