"""Asynchronous unit tests run in virtual time, but for those that are marked ``real_time``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.fakes.clock import VirtualTimeLoop, show_virtual_time


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("real_time"):
        return {"real time": asyncio.new_event_loop}
    return {"virtual time": VirtualTimeLoop}


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    show_virtual_time(monkeypatch)
