"""When Ray is made to start another worker, because an actor that is waited for got none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.errors import UnavailableError
from actors.worker_starts import SOON_S, WorkerStarts

PATIENCE_S = 20.0


class Scene:
    def __init__(self, is_one_starting: Callable[[], bool] = lambda: False) -> None:
        self.started = 0
        self.trouble: Exception | None = None
        self.starts = WorkerStarts(self._start_another, is_one_starting)

    async def _start_another(self) -> None:
        self.started += 1
        if self.trouble:
            raise self.trouble

    async def wait_for(self, seconds: float) -> None:
        async with self.starts.awaited():
            await asyncio.sleep(seconds)


async def test_an_actor_for_which_no_worker_starts_gets_another_one_again_and_again() -> None:
    scene = Scene()
    await scene.wait_for(PATIENCE_S)
    assert scene.started > 1


async def test_an_actor_that_comes_soon_costs_no_worker() -> None:
    scene = Scene()
    for _ in range(20):
        await scene.wait_for(SOON_S / 2)
    assert scene.started == 0


async def test_while_workers_start_no_other_is_started() -> None:
    scene = Scene(lambda: True)
    await scene.wait_for(PATIENCE_S)
    assert scene.started == 0


async def test_many_who_wait_at_the_same_time_cost_one_worker_at_a_time() -> None:
    alone, many = Scene(), Scene()
    await alone.wait_for(PATIENCE_S)
    await asyncio.gather(*(many.wait_for(PATIENCE_S) for _ in range(50)))
    assert many.started <= alone.started + 1


async def test_a_ray_that_does_not_answer_is_asked_again() -> None:
    scene = Scene()
    scene.trouble = UnavailableError("Ray does not answer")
    await scene.wait_for(PATIENCE_S)
    assert scene.started > 1
