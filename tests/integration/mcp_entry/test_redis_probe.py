"""What ``phalanx doctor`` says of a real Redis, and of what only looks like one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcp_entry.cli import doctor
from tests.integration.store.redis_server import watched

PROBE = Path(doctor.__file__).with_name("redis_probe.py")
PASSWORD = "s3cret"
START_S = 10.0


@pytest.fixture
def redis_socket(short_tmp: Path) -> Iterator[Path]:
    """The socket of a Redis that wants a password."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("There is no redis-server: apt install redis-server", pytrace=False)
        pytest.skip("There is no redis-server: apt install redis-server")
    path = short_tmp / "redis.sock"
    server = subprocess.Popen(
        [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            path,
            "--requirepass",
            PASSWORD,
            "--save",
            "",
            "--dir",
            short_tmp,
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_S
        while not answers(path) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield path
    finally:
        server.kill()
        server.wait()


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextmanager
def impostor(answer: bytes | None) -> Iterator[int]:
    """The port of a server that takes one connection and answers so; None: never."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                if answer is not None:
                    client.recv(1000)
                    client.sendall(answer)
                ended.wait(30)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            server.join(5)


def ask(url: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-P", PROBE],
        env={**os.environ, "REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert PASSWORD not in ended.stdout + ended.stderr
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.strip()


def test_a_redis_that_a_team_can_use_answers_with_its_version(redis_socket: Path) -> None:
    code, words = ask(f"unix://:{PASSWORD}@{redis_socket}?db=1")
    assert code == 0
    assert words.startswith("Redis ")
    assert words.endswith(" answers")


@pytest.mark.parametrize("user", ["", ":wrong@", f"nobody:{PASSWORD}@"])
def test_a_password_that_is_missing_or_wrong_is_told_as_such(redis_socket: Path, user: str) -> None:
    code, words = ask(f"unix://{user}{redis_socket}")
    assert code == 1
    assert words.startswith(("it asks for a password", "it refuses the user or the password"))


def test_an_option_that_the_client_does_not_know_is_told(redis_socket: Path) -> None:
    code, words = ask(f"unix://:{PASSWORD}@{redis_socket}?sped=1")
    assert code == 1
    assert "has an option (after the '?')" in words


def test_a_place_where_nothing_listens_is_told(short_tmp: Path) -> None:
    assert ask(f"unix://{short_tmp}/none.sock")[1].startswith("it is not there")
    assert ask("redis+cluster://127.0.0.1:1")[1].startswith("it refuses connections")


def test_a_master_is_found_by_its_sentinels(short_tmp: Path) -> None:
    with watched(short_tmp, PASSWORD) as redis:
        user = f"redis+sentinel://:{PASSWORD}@127.0.0.1"
        code, words = ask(f"{user}:1,127.0.0.1:{redis.sentinel.port}{redis.options}")
        nobody = ask(f"{user}:{redis.sentinel.port}/other?sentinel_password={redis.sentinel.password}")

    assert (code, words.endswith(" answers")) == (0, True)
    assert nobody == (1, "it has no master now that a sentinel names, or none of them lets this user in")


def test_a_server_that_never_answers_is_waited_for_within_bounds() -> None:
    begun = time.monotonic()
    with impostor(None) as port:
        code, words = ask(f"redis://:{PASSWORD}@127.0.0.1:{port}")
    assert code == 1
    assert words == "it does not answer in time"
    assert time.monotonic() - begun < 10


def test_what_is_no_redis_and_what_speaks_no_tls_is_told() -> None:
    with impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert ask(f"redis://127.0.0.1:{port}") == (1, "it is no Redis")
    with impostor(b"-ERR unknown command\r\n") as port:
        assert ask(f"rediss://127.0.0.1:{port}")[1].startswith("it cannot be reached by TLS")
