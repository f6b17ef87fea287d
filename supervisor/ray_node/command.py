"""What ``ray start`` is told on a host, and with which environment. Pure but for the look at what is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.home import Home
from actors.marks import NODE_MARK
from actors.nodes import HOST_LABEL, SLOT
from supervisor.ray_node.ports import CLIENT_SERVER, HEAD, NODE_OPTIONS, WORKERS
from supervisor.runtime.environment import RAY_SETTINGS, kept_for_ray, kept_for_tls, python_path
from supervisor.settings import HOME_VARIABLE

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
