"""Every port on which Ray listens on a host of a cluster; ``docs/cluster.md`` lists them for the firewall.

Ray would choose most of them by itself, and then a firewall could only let everything through. The head's port is not
Ray's default, which is that of Redis.
"""

from __future__ import annotations

from collections.abc import Mapping

HEAD = 6390
"""Ray's control store on the head; workers and drivers connect to it first."""
NODE_OPTIONS: Mapping[str, int] = {
    "--node-manager-port": 6391,
    "--object-manager-port": 6392,
    "--runtime-env-agent-port": 6393,
    "--dashboard-agent-listen-port": 6394,
    "--dashboard-agent-grpc-port": 6395,
    "--metrics-export-port": 6396,
}
CLIENT_SERVER = 6397
"""On the head, and only if grpcio is installed."""
WORKERS = range(20_000, 22_000)
"""One for each worker process of a host: an instance's actor is one."""
