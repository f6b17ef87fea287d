from __future__ import annotations

from typing import Any

import pytest
from pydantic.fields import FieldInfo

from actors.errors import InvalidRequestError
from supervisor.api.requests import OptimizeSettingsRequest
from supervisor.api.validation import parse
from supervisor.settings import Settings
from supervisor.settings.live import PROFILES
from supervisor.settings.sources import TUNABLE


def asked(**arguments: Any) -> OptimizeSettingsRequest:
    return parse(OptimizeSettingsRequest, arguments)


def bounds(field: FieldInfo) -> set[str]:
    return {repr(bound) for bound in field.metadata}


@pytest.mark.parametrize("name", TUNABLE)
def test_what_can_be_tuned_has_the_bounds_of_its_setting(name: str) -> None:
    assert bounds(OptimizeSettingsRequest.model_fields[name]) == bounds(Settings.model_fields[name])


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_made_of_settings_and_values_that_can_be_set(profile: str) -> None:
    values = PROFILES[profile]  # type: ignore[index]
    assert values.keys() <= set(TUNABLE)
    Settings(**values)


def test_the_names_of_the_guide_are_taken_beside_and_inside_settings() -> None:
    names = {
        "maxConcurrentSpawns": 10,
        "maxConcurrentGitOps": 5,
        "messageBatchSize": 20,
        "messageBatchDelay": 200,
        "cacheSize": 500,
        "cacheTTL": 1000,
        "worktreePoolSize": 3,
        "prewarmInstances": 4,
    }
    assert asked(**names) == asked(settings=names)
    assert asked(settings={"cacheSize": 500}, auto=True) == asked(cacheSize=500, auto=True)


def test_an_unknown_name_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidRequestError, match="Did you mean maxConcurrentSpawns"):
        asked(maxConcurentSpawns=10)
    with pytest.raises(InvalidRequestError, match="Did you mean messageBatchDelay"):
        asked(settings={"message_batch_delai": 10})


def test_of_many_values_every_wrong_one_is_told() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        asked(maxConcurrentSpawns=0, cacheSize="many", messageBatchDelay=-1, profile="huge")
    for name in ("maxConcurrentSpawns", "cacheSize", "messageBatchDelay", "profile"):
        assert name in str(refused.value)


def test_a_name_that_is_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="cacheSize is given twice"):
        asked(settings={"cacheSize": 1}, cacheSize=2)
