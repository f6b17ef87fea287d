from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from actors.errors import SettingsError
from actors.home import Home
from supervisor.api import results
from supervisor.api.requests import OptimizeSettingsRequest
from supervisor.api.validation import parse
from supervisor.api.verbs import Caller
from supervisor.metrics.autotune import CapTuningLoop
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.settings import Settings, service
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.settings.service import SettingsService
from supervisor.settings.sources import SavedChanges, read_tuned, write_tuned
from supervisor.spawning.admission import FairSemaphore
from tests.fakes.clock import turns

LEAD = Caller(sender="lead")


class Life:
    """What a supervisor that begins in this home makes of its settings."""

    def __init__(self, home: Home) -> None:
        settings = Settings.load(home, {})
        self.live_settings = LiveSettings(TunableValues.of(settings))
        self.permits = FairSemaphore(settings.max_concurrent_spawns)
        self_tuning = CapTuningLoop(self.live_settings, self.permits, MetricsRecorder(), dict)
        self.service = SettingsService(home, self.live_settings, self_tuning, TunableValues.of(settings.configured))

    async def tune(self, **arguments: Any) -> results.OptimizeSettingsResult:
        return await self.service.optimize_settings(parse(OptimizeSettingsRequest, arguments), LEAD)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_a_change_applies_at_once_and_tells_what_was_before(home: Home) -> None:
    life = Life(home)
    result = await life.tune(maxConcurrentSpawns=9)
    assert (result.old_settings.max_concurrent_spawns, result.new_settings.max_concurrent_spawns) == (5, 9)
    assert life.permits.limit == 9


async def test_the_next_supervisor_of_the_home_begins_with_it_whatever_the_configuration_says(home: Home) -> None:
    home.config_file.write_text("max_concurrent_spawns = 3\ncache_size = 77\n")
    await Life(home).tune(maxConcurrentSpawns=9, auto=True)
    later = Life(home)
    assert (later.permits.limit, later.live_settings.current.auto) == (9, True)
    assert later.live_settings.current.cache_size == 77
    assert "max_concurrent_spawns = 9" in Settings.load(home, {}).tuned.in_words


async def test_a_profile_sets_what_belongs_to_it_and_what_is_named_wins(home: Home) -> None:
    result = await Life(home).tune(profile="large", messageBatchSize=15)
    new = result.new_settings
    assert (new.max_concurrent_spawns, new.max_concurrent_git_ops, new.prewarm_instances) == (10, 5, 20)
    assert new.message_batch_size == 15


async def test_changes_add_up_until_they_are_reset(home: Home) -> None:
    home.config_file.write_text("cache_size = 77\n")
    await Life(home).tune(cacheSize=5, auto=True)
    await Life(home).tune(cacheTTL=6)
    life = Life(home)
    assert (life.live_settings.current.cache_size, life.live_settings.current.cache_ttl) == (5, 6)
    result = await life.tune(reset=True, prewarmInstances=1)
    new = result.new_settings
    assert (new.cache_size, new.cache_ttl, new.auto, new.prewarm_instances) == (77, 60_000, False, 1)
    assert Life(home).live_settings.current == life.live_settings.current


@pytest.mark.real_time
async def test_a_change_whose_caller_went_away_is_done_before_the_next_one_begins(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def written_when_told(home: Home, tuned: SavedChanges) -> None:
        begun.set()
        assert go_on.wait(10)
        write_tuned(home, tuned)

    monkeypatch.setattr(service, "write_tuned", written_when_told)
    life = Life(home)
    first = asyncio.create_task(life.tune(cacheSize=5))
    assert await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    given_up, second = (asyncio.create_task(life.tune(**change)) for change in ({"cacheSize": 4}, {"cacheTTL": 6}))
    await turns()
    given_up.cancel()
    go_on.set()
    assert (await second).old_settings.cache_size == 5
    assert read_tuned(home).values == {"cache_size": 5, "cache_ttl": 6}


async def test_what_cannot_be_kept_changes_nothing(home: Home) -> None:
    life = Life(home)
    home.tuned_file.mkdir()
    with pytest.raises(SettingsError):
        await life.tune(maxConcurrentSpawns=9)
    assert (life.permits.limit, life.live_settings.current.max_concurrent_spawns) == (5, 5)


async def test_without_a_change_nothing_is_written_and_the_settings_are_told(home: Home) -> None:
    result = await Life(home).tune()
    assert result.old_settings == result.new_settings
    assert not home.tuned_file.exists()


async def test_another_change_leaves_the_cap_that_was_found_by_itself(home: Home) -> None:
    life = Life(home)
    await life.tune(auto=True)
    life.permits.resize(12)
    await life.tune(cacheSize=5)
    assert life.permits.limit == 12
    await life.tune(auto=False)
    assert life.permits.limit == 5


@pytest.mark.parametrize(
    "content", ["{", "[]", "3", '{"cache_size": "x"}', '{"redis_url": "x"}', '{"auto": 3}', '{"cache_size": -1}']
)
def test_a_damaged_file_is_refused_with_its_place(home: Home, content: str) -> None:
    home.tuned_file.write_text(content)
    with pytest.raises(SettingsError, match=r"tuned\.json"):
        Settings.load(home, {})
