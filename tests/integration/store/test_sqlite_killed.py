"""What a state file holds after its supervisor was killed, and who may have it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.errors import StateHeldError
from supervisor.store.sqlite import SqliteStore, examine
from tests.integration.store.killing import returned_saves, saver
from tests.integration.store.saver import WORKERS


@pytest.mark.parametrize("at_least", [4, 40, 401, 777, 1200, 2000])
async def test_every_save_that_returned_survives_a_kill_and_none_is_torn(short_tmp: Path, at_least: int) -> None:
    path = short_tmp / "state.db"
    with saver(path) as process:
        returned = returned_saves(process, at_least=at_least)
    store = SqliteStore(path)
    assert await store.open() == 2

    for worker, last in returned.items():
        pair = await store.load(f"pair/{worker}/")
        log = [int(key.rpartition("/")[2]) for key in await store.load(f"log/{worker}/")]
        assert pair[f"pair/{worker}/a"] == pair[f"pair/{worker}/b"] == str(log[-1]).encode() * 50
        assert log[-1] in {last, last + 1}
        assert log == list(range(max(0, log[-1] - 99), log[-1] + 1))
    await store.close()


async def test_a_second_supervisor_is_told_who_has_the_state_and_gets_it_when_that_one_is_killed(
    short_tmp: Path,
) -> None:
    path = short_tmp / "state.db"
    second = SqliteStore(path)
    with saver(path) as process:
        with pytest.raises(StateHeldError, match=rf"process {process.pid}\b.*{re.escape(str(path))}"):
            await second.open()
        assert process.poll() is None
        assert examine(path).epoch == 1
    assert await second.open() == 2
    await second.close()


async def test_a_refused_supervisor_leaves_the_first_ones_epoch_alone(short_tmp: Path) -> None:
    path = short_tmp / "state.db"
    with saver(path) as process:
        for _ in range(3):
            with pytest.raises(StateHeldError):
                await SqliteStore(path).open()
        assert returned_saves(process, at_least=WORKERS * 3).keys() == set(range(WORKERS))
    assert examine(path).epoch == 1
