"""Real Redis servers for tests, each on a private port with its data in the test's own directory; always ended.

``RedisProcess`` can be killed, paused and started again with or without its data. ``cluster`` starts three masters,
``watched`` a master with a replica and a sentinel.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
import redis

_START_S = 10.0
_LAST_SLOT = 0x3FFF
_Process = TypeVar("_Process", bound="RedisProcess")


def require_redis() -> str:
    """The program. Skips the test where there is none, but not in CI."""
    program = shutil.which("redis-server")
    if program:
        return program
    missing = "There is no redis-server: run scripts/setup --dev"
    if os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisProcess:
    """One server. ``options`` are those of its command line. Every write is on disk at once, so a kill loses none."""

    def __init__(self, directory: Path, options: Sequence[str] = (), password: str = "") -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.password = password
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []

    @property
    def url(self) -> str:
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    @property
    def client(self) -> Any:
        """A client of the test's own, for looking and for breaking things."""
        return redis.Redis(port=self.port, password=self.password or None, socket_timeout=5)

    def start(self) -> None:
        command = self._command or self._as_server()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start:\n{(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def _as_server(self) -> list[str]:
        command = [require_redis(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)]
        return [*command, "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options]

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        """kill -9; no-op when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Removes the data of a server that does not run."""
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It does not answer, but its system takes what is sent to it."""
        if self._process is None:
            raise RuntimeError("it does not run")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def server(directory: Path, options: Sequence[str] = (), password: str = "") -> Iterator[RedisProcess]:
    with _run(RedisProcess(directory, options, password)) as process:
        yield process


@contextlib.contextmanager
def _run(process: _Process) -> Iterator[_Process]:
    try:
        process.start()
        yield process
    finally:
        process.kill()


class TlsRedisProcess(RedisProcess):
    """Speaks TLS only, with a certificate that its own ``ca`` signed."""

    def __init__(self, directory: Path, password: str, options: Sequence[str] = ()) -> None:
        super().__init__(directory, options, password)
        self.ca = directory / "server.pem"
        key = directory / "server.key"
        _make_certificate(self.ca, key)
        files = ["--tls-cert-file", str(self.ca), "--tls-key-file", str(key), "--tls-ca-cert-file", str(self.ca)]
        self._tls_port, self.port = self.port, 0
        self._options += ["--tls-port", str(self._tls_port), "--tls-auth-clients", "no", *files]

    @property
    def url(self) -> str:
        return f"rediss://:{quote(self.password, safe='')}@localhost:{self._tls_port}/0?ssl_ca_certs={self.ca}"

    @property
    def client(self) -> Any:
        return redis.Redis.from_url(self.url)


def _make_certificate(certificate: Path, key: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def tls_server(directory: Path, password: str) -> Iterator[TlsRedisProcess]:
    with _run(TlsRedisProcess(directory, password)) as process:
        yield process


@contextlib.contextmanager
def tls_cluster(directory: Path, password: str) -> Iterator[TlsRedisProcess]:
    """One master that has all slots, and tells its host's name rather than its address, as managed ones do."""
    named = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"]
    options = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(free_port()), *named]
    with _run(TlsRedisProcess(directory, password, options)) as process:
        with process.client as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, _LAST_SLOT)
        _wait_until(lambda: _is_whole(process), "The cluster did not come together.")
        yield process


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[list[RedisProcess]]:
    """Three masters without replicas that share all slots."""
    with contextlib.ExitStack() as stack:
        nodes = []
        buses = [free_port() for _ in range(3)]
        for number, bus in enumerate(buses):
            options = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000"]
            nodes.append(stack.enter_context(server(directory / f"node{number}", options)))
        share = (_LAST_SLOT + 1) // len(nodes)
        for number, node in enumerate(nodes):
            last = _LAST_SLOT if number == len(nodes) - 1 else (number + 1) * share - 1
            with node.client as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
                client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port, buses[0])
        _wait_until(lambda: all(map(_is_whole, nodes)), "The cluster did not come together.")
        yield nodes


def _is_whole(node: RedisProcess) -> bool:
    with node.client as client:
        return bool(client.cluster("INFO")["cluster_state"] == "ok")


def _wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.05)


class SentinelProcess(RedisProcess):
    """Watches one master, and makes its replica the master when it is away for half a second."""

    MASTER = "mymaster"

    def __init__(self, directory: Path, master: RedisProcess, password: str) -> None:
        super().__init__(directory, password=password)
        file = directory / "sentinel.conf"
        lines = [
            f"requirepass {password}",
            f"sentinel monitor {self.MASTER} 127.0.0.1 {master.port} 1",
            f"sentinel auth-pass {self.MASTER} {master.password}",
            f"sentinel down-after-milliseconds {self.MASTER} 500",
            f"sentinel failover-timeout {self.MASTER} 2000",
        ]
        file.write_text("\n".join(lines) + "\n")
        self._command = [require_redis(), str(file), "--sentinel", "--bind", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--dir", str(directory)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedRedis:
    master: RedisProcess
    replica: RedisProcess
    sentinel: SentinelProcess

    @property
    def options(self) -> str:
        """What stands behind the sentinels in an address."""
        return f"/{self.sentinel.MASTER}/0?sentinel_password={self.sentinel.password}"


@contextlib.contextmanager
def watched(directory: Path, password: str) -> Iterator[WatchedRedis]:
    """The replica has what the master has."""
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(server(directory / "master", ["--masterauth", password], password))
        following = ["--replicaof", f"127.0.0.1 {master.port}", "--masterauth", password]
        following += ["--repl-diskless-sync-delay", "0"]
        replica = stack.enter_context(server(directory / "replica", following, password))
        sentinel = stack.enter_context(_run(SentinelProcess(directory / "sentinel", master, f"{password}-of-sentinel")))

        def known() -> bool:
            with sentinel.client as asked, replica.client as copy:
                followed = copy.info("replication")["master_link_status"] == "up"
                return followed and bool(asked.sentinel_slaves(sentinel.MASTER))

        _wait_until(known, "The sentinel does not see the replica.")
        yield WatchedRedis(master=master, replica=replica, sentinel=sentinel)
