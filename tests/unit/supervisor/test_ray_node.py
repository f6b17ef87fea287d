"""What Ray is told on a host of a cluster, and what its environment holds."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

import pytest

from actors.errors import UnavailableError
from actors.home import Home
from actors.marks import NODE_MARK, UMASK_MARK
from actors.nodes import slots_for
from supervisor import ray_node
from supervisor.ray_node import node_environment, start_command, start_node

HOME = Home(Path("/home/u/.phalanx"))


def command(head_address: str = "", autoscaling_config: Path | None = None, labels: str = "") -> Sequence[str]:
    return start_command(HOME, head_address, autoscaling_config, 7, labels)


def test_the_head_scales_with_the_launcher_and_not_without_it() -> None:
    alone = command()
    launched = command(autoscaling_config=Path("/home/u/ray_bootstrap_config.yaml"))

    assert {"--head", f"--port={ray_node.HEAD_PORT}", "--no-monitor"} <= set(alone)
    assert "--autoscaling-config=/home/u/ray_bootstrap_config.yaml" in launched
    assert "--no-monitor" not in launched


def test_the_user_s_umask_is_handed_on_to_the_agents_of_the_host() -> None:
    assert node_environment({UMASK_MARK: "0027"}, HOME)[UMASK_MARK] == "0027"


def test_a_worker_joins_the_head_that_it_is_given() -> None:
    words = command(head_address="10.0.0.1:6390")

    assert "--address=10.0.0.1:6390" in words
    assert "--head" not in words


def test_every_port_is_fixed_and_none_is_given_twice() -> None:
    words = command()

    numbers = [ray_node.HEAD_PORT, ray_node.CLIENT_SERVER_PORT, *ray_node.NODE_PORTS.values(), *ray_node.WORKER_PORTS]
    assert len(set(numbers)) == len(numbers)
    assert 6379 not in numbers
    for option, port in ray_node.NODE_PORTS.items():
        assert f"{option}={port}" in words


def test_a_host_offers_its_slots_and_can_be_chosen_by_name_and_labels() -> None:
    words = command(labels="disk=fast,zone=b")

    (resources,) = (word for word in words if word.startswith("--resources="))
    assert json.loads(resources.partition("=")[2]) == {"claude_slot": 7}
    assert f"--labels=phalanx/host={socket.gethostname()},disk=fast,zone=b" in words


def test_ray_gets_its_hygiene_and_what_the_launcher_says_but_none_of_the_callers_secrets() -> None:
    given = {
        "PATH": "/bin",
        "ANTHROPIC_API_KEY": "sk-ant-secret",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_TLS_CA_CERT": "/etc/ca.pem",
        "RAY_ADDRESS": "other:1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }

    environment = node_environment(given, HOME)

    assert environment["RAY_memory_monitor_refresh_ms"] == "0"
    assert environment["RAY_worker_niceness"] == "0"
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_enable_autoscaler_v2"] == "1"
    assert environment["RAY_TLS_CA_CERT"] == "/etc/ca.pem"
    assert environment[NODE_MARK] == "/home/u/.phalanx"
    assert "ANTHROPIC_API_KEY" not in environment
    assert "RAY_ADDRESS" not in environment
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in environment


def test_slots_follow_the_memory_and_the_smallest_host_has_one() -> None:
    assert slots_for(1 << 30) == 1
    assert slots_for(9 << 30) == 16
    assert slots_for(65 << 30) == 128


def start_watched(seen: Iterator[str], home: Home, monkeypatch: pytest.MonkeyPatch) -> str:
    """Starts a program in place of Ray. ``seen``: which process of it has ended, each time that this is asked."""

    class Watch:
        def __init__(self, pid: int) -> None:
            pass

        def ended(self) -> str:
            return next(seen)

    monkeypatch.setattr(ray_node, "HeadWatch", Watch)
    monkeypatch.setattr(ray_node, "start_command", lambda *_: ("/bin/sh", "-c", "sleep 0.3; echo up"))
    token = home.root.parent / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("token")
    environment = {"HOME": str(home.root.parent), "PATH": "/bin"}
    return start_node(home, environment, head_address="", autoscaling_config=None, slots=1, labels="")


@pytest.mark.parametrize("seen", [("head",), ("agent", "head")])
def test_a_start_that_has_ended_but_is_not_reaped_yet_is_not_lost(
    seen: tuple[str, ...], short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start_watched(chain(seen, repeat("head")), Home(short_tmp / "home"), monkeypatch) == "up\n"


def test_a_start_that_waits_for_a_server_that_has_ended_is_lost(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match="3 tries, the last time because Ray's server ended"):
        start_watched(repeat("server"), Home(short_tmp / "home"), monkeypatch)
