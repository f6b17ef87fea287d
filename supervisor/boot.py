"""A short-lived program that connects to the local Ray and starts the supervisor in it.

The runtime starts it together with Ray's head, so that no other program of ours pays for importing Ray; it waits for
the head. Its answer is one line of JSON on a descriptor of its own, because Ray prints on stdout and stderr::

    {"ok": true, "address": "127.0.0.1:40211"}
    {"ok": false, "message": "...", "lost": true}

``lost``: the supervisor itself gave no reason, so Ray failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError, RayTaskError

from actors.errors import PhalanxError, SettingsError, UnavailableError
from actors.home import Home
from actors.ray_client import NAMESPACE

_POLL_S = 0.02
_RETRY_FOR_S = 15.0
_REASON_CHARACTERS = 4000
_NOT_RAYS_FAULT = (ImportError, AttributeError, SettingsError)
"""Faults that another Ray would not repair."""
_REGISTERED = "logs/debug_state.txt"
"""The raylet writes it once it is registered; a driver that connects earlier pauses for a second. The head writes its
own address file only some time later."""


def namespace_of(home: Home, *, joined: bool) -> str:
    """Ray's namespace of the team: several teams may share a cluster."""
    return f"{NAMESPACE}-{home.identity}" if joined else NAMESPACE


def start_supervisor(home: Home, factory: str, timeout_s: float, cluster: str = "") -> dict[str, Any]:
    """Connects to ``cluster``, or else to the home's own Ray, and starts the supervisor; it may run already.

    Raises any error.
    """
    deadline = time.monotonic() + timeout_s
    module, _, name = factory.partition(":")
    create: Callable[[str], Any] = getattr(importlib.import_module(module), name)
    address = cluster or _wait_for_address(home.ray_directory, deadline)
    namespace = namespace_of(home, joined=bool(cluster))
    ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)
    _until_started(create(str(home.root)), deadline)
    return {"ok": True, "address": address}


def _until_started(supervisor: Any, deadline: float) -> None:
    """Asks again while Ray restarts the killed actor of supervisor or host. Raises the supervisor's reason."""
    refused_until = math.inf
    while True:
        try:
            ray.get(supervisor.start.remote(), timeout=max(1.0, deadline - time.monotonic()))
        except ActorUnavailableError:
            if time.monotonic() > deadline:
                raise
        except RayTaskError as error:
            refused_until = min(refused_until, deadline, time.monotonic() + _RETRY_FOR_S)
            if not isinstance(error.cause, UnavailableError) or time.monotonic() > refused_until:
                raise
        else:
            return
        time.sleep(_POLL_S)


def find_address(ray_directory: Path) -> str | None:
    """The address of the head that was started in this directory; None until it accepts drivers."""
    session = ray_directory / "session_latest"
    if (session / _REGISTERED).exists() and (port := _port(session)):
        return f"127.0.0.1:{port}"
    with suppress(FileNotFoundError):
        return (ray_directory / "ray_current_cluster").read_text().strip() or None
    return None


def _port(session: Path) -> str | None:
    """Skips ``….tmp``: Ray writes the file under that name first, which may be half written and is soon gone."""
    for file in session.glob("gcs_server_port_*"):
        with suppress(FileNotFoundError):
            if file.suffix != ".tmp" and (text := file.read_text().strip()):
                return text
    return None


def _wait_for_address(ray_directory: Path, deadline: float) -> str:
    while (address := find_address(ray_directory)) is None:
        if time.monotonic() > deadline:
            raise UnavailableError("Ray was not up in time")
        time.sleep(_POLL_S)
    return address


def _failure(error: Exception) -> dict[str, Any]:
    cause = error.cause if isinstance(error, RayTaskError) else error
    lost = not isinstance(error, (RayTaskError, *_NOT_RAYS_FAULT))
    if isinstance(cause, PhalanxError):
        text = str(cause)
    elif isinstance(cause, GetTimeoutError):
        text = "it was not ready in time"
    elif isinstance(error, RayError | ConnectionError) and not isinstance(error, RayTaskError):
        text = f"Ray did not start it ({type(error).__name__})"
    else:
        text = f"{type(cause).__name__}: {cause}".split("\n", maxsplit=1)[0]
    return {"ok": False, "message": text[:_REASON_CHARACTERS], "lost": lost}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m supervisor.boot", description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--report-fd", type=int, default=1, help="where the answer goes; default: stdout")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds")
    parser.add_argument("--cluster", default="", help="ADDRESS:PORT of a Ray to join; default: the home's own")
    parser.add_argument("--factory", required=True, help="MODULE:FUNCTION that makes the supervisor's actor")
    given = parser.parse_args(arguments)
    try:
        answer = start_supervisor(Home(given.home), given.factory, given.timeout, given.cluster)
    except Exception as error:  # noqa: BLE001 - the outermost frame: the runtime waits for an answer
        traceback.print_exc()
        answer = _failure(error)
    os.write(given.report_fd, json.dumps(answer).encode() + b"\n")
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    # Ray's own exit imports much and takes long; the head notices the end without it.
    os._exit(main())
