from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.errors import SettingsError
from actors.home import Home, home_from
from actors.marks import MARKS
from supervisor.settings import (
    Settings,
    check_variables,
    describe,
    keep_settings,
    kept_settings,
    setting_variables,
    waiting_settings,
)
from supervisor.settings.sources import SavedChanges, write_tuned


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def written(home: Home, config: str) -> Home:
    home.config_file.write_text(config)
    return home


def test_without_file_and_variables_the_defaults_of_the_guide_hold(home: Home) -> None:
    settings = Settings.load(home, {})

    assert settings == Settings()
    assert (settings.max_concurrent_spawns, settings.message_batch_size, settings.message_batch_delay) == (5, 10, 100)
    assert (settings.agent, settings.claude_command) == ("claude", "claude")


def test_the_file_is_read_and_the_environment_wins(home: Home) -> None:
    written(home, 'max_concurrent_spawns = 7\nmessage_batch_size = 3\nagent = "demo"\n[env]\nLANG = "C"')

    settings = Settings.load(home, {"MAX_CONCURRENT_SPAWNS": "9", "PHALANX_SPAWN_TIMEOUT_S": "12.5"})

    assert (settings.max_concurrent_spawns, settings.message_batch_size) == (9, 3)
    assert (settings.agent, settings.spawn_timeout_s, settings.env) == ("demo", 12.5, {"LANG": "C"})


def test_the_environment_of_this_process_is_not_looked_at(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONCURRENT_SPAWNS", "17")

    assert Settings.load(home, {}).max_concurrent_spawns == 5


def test_empty_variables_are_no_error(home: Home) -> None:
    assert Settings.load(home, {"MAX_CONCURRENT_SPAWNS": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PHALANX_AGNET", "PHALANX_AGENT"),
        ("PHALANX_HOMES", "PHALANX_HOME"),
        ("PHALANX_DEMO_STRAT_S", "PHALANX_DEMO_START_S"),
        ("PHALANX_MAX_CONCURRENT_SPAWNS", "MAX_CONCURRENT_SPAWNS"),
    ],
)
def test_a_variable_that_is_only_nearly_ours_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is no known variable. Did you mean {meant}[?]"):
        check_variables([name, "PATH"])


def test_where_it_is_plain_what_was_meant_all_that_is_known_is_not_told_too(home: Home) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean notify_command\?$"):
        Settings.load(written(home, "notify_comand = 'x'"), {})
    with pytest.raises(SettingsError, match=r"Known are: PHALANX_"):
        check_variables(["PHALANX_SOMETHING_QUITE_DIFFERENT_XYZW"])


def test_a_setting_that_there_was_is_refused_with_why_it_is_gone(home: Home) -> None:
    with pytest.raises(SettingsError, match=r"PHALANX_SPARE_ACTORS is no known variable\. Earlier versions had it: "):
        check_variables(["PHALANX_SPARE_ACTORS"])
    with pytest.raises(SettingsError, match=r"spare_actors is no known setting\. Earlier versions had it: "):
        Settings.load(written(home, "spare_actors = 2"), {})


def test_all_of_our_variables_and_those_of_others_are_taken() -> None:
    ours = {info.variable for info in describe()} | MARKS | {"PHALANX_DEMO_FAULTS"}
    check_variables([*ours, "PATH", "MAX_CONCURRENT_SPAWN", "PHALANXES"])


def test_allowed_directories_are_a_list_in_the_file_and_joined_in_the_environment(home: Home) -> None:
    in_file = Settings.load(written(home, 'allowed_work_dirs = ["/srv/a", "~/b"]'), {})
    in_environment = Settings.load(home, {"PHALANX_ALLOWED_WORK_DIRS": os.pathsep.join(["/c", "", "/d"])})

    assert in_file.allowed_work_dirs == (Path("/srv/a"), Path.home() / "b")
    assert in_environment.allowed_work_dirs == (Path("/c"), Path("/d"))


@pytest.mark.parametrize(
    ("config", "environment", "words"),
    [
        ("max_concurrent_spawns = 0", {}, ["config.toml", "max_concurrent_spawns", "0", "1 to 100"]),
        ("", {"MAX_CONCURRENT_SPAWNS": "many"}, ["MAX_CONCURRENT_SPAWNS", "many", "whole number", "instances"]),
        ("", {"MESSAGE_BATCH_DELAY": "-1"}, ["MESSAGE_BATCH_DELAY", "-1", "0 to 60000", "ms"]),
        ("", {"PHALANX_AGENT": "gpt"}, ["PHALANX_AGENT", "gpt", "claude or demo"]),
        ("claude_command = ''", {}, ["claude_command", "on PATH"]),
        ("allowed_work_dirs = ['/ok', 'a/b']", {}, ["allowed_work_dirs[1]", "a/b", "absolute"]),
        ("max_spawns = 3", {}, ["config.toml: max_spawns is", "Did you mean max_concurrent_spawns?"]),
        ("zzz = 3", {}, ["zzz is no known setting", "Known are:", "message_batch_size", "env"]),
        ("MAX_CONCURRENT_SPAWNS = 3", {}, ["Did you mean max_concurrent_spawns?"]),
        ("x = [", {}, ["config.toml", "not TOML"]),
        ("env = {'-b' = 'x'}", {}, ["env.-b"]),
        ("env = {A = 1}", {}, ["env.A", "texts"]),
        ("env = {PHALANX_TEAM = 'x'}", {}, ["env.PHALANX_TEAM", "reserved"]),
        ("spawn_timeout_s = nan", {}, ["spawn_timeout_s", "1 to 3600"]),
        ("", {"PHALANX_ON_AGENT_FAILURE": "retry"}, ["PHALANX_ON_AGENT_FAILURE", "'retry'", "report or resume"]),
        ("resume_limit = 0", {}, ["resume_limit", "1 to 100", "times"]),
        ("", {"REDIS_PORT": "tcp://10.0.0.1:6379"}, ["REDIS_PORT", "'tcp://10.0.0.1:6379'", "1 to 65535"]),
        ("", {"REDIS_HOST": "db:6379"}, ["REDIS_HOST", "without port"]),
        ("", {"REDIS_URL": "http://db"}, ["REDIS_URL cannot be as it is", "must begin with redis://", "rediss://"]),
        ("redis_url = 'redis://db/1'", {"REDIS_DB": "2"}, ["REDIS_DB cannot be '2'", "redis_url wins over it"]),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place_its_value_and_what_is_allowed(
    home: Home, config: str, environment: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(written(home, config), environment)

    assert [word for word in words if word not in str(refused.value)] == []


def test_several_wrong_settings_are_told_at_once(home: Home) -> None:
    with pytest.raises(SettingsError, match=r"max_concurrent_spawns.*\n.*message_batch_size"):
        Settings.load(written(home, "max_concurrent_spawns = 0\nmessage_batch_size = 0"), {})


def test_a_value_of_the_agents_environment_is_never_shown(home: Home) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(written(home, 'env = {TOKEN = ["s3cret"]}'), {})

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, None),
        ({"REDIS_PORT": "7000", "REDIS_DB": "2"}, None),
        ({"REDIS_HOST": "db"}, "redis://db:6379/0"),
        ({"REDIS_HOST": "db.example", "REDIS_PORT": "7000", "REDIS_DB": "2"}, "redis://db.example:7000/2"),
        ({"REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
        ({"REDIS_HOST": "[::1]"}, "redis://[::1]:6379/0"),
        ({"REDIS_URL": "rediss://me:pw@db/3", "REDIS_HOST": "other"}, "rediss://me:pw@db/3"),
        ({"REDIS_URL": "redis://db/3", "REDIS_DB": "3"}, "redis://db/3"),
    ],
)
def test_the_address_of_redis_is_its_url_or_made_from_its_parts(
    home: Home, environment: dict[str, str], address: str | None
) -> None:
    assert Settings.load(home, environment).redis_address == address


@pytest.mark.parametrize(
    "environment",
    [
        {"REDIS_URL": "http://me:s3cret@db"},
        {"REDIS_URL": "redis://me:s3cret#x@db"},
        {"REDIS_URL": "redis://me:s3cret@db:s3cret"},
        {"REDIS_URL": "redis://[s3cret@db"},
        {"REDIS_URL": "redis://db/1?password=s3cret", "REDIS_DB": "2"},
        {"REDIS_HOST": "redis://me:s3cret@db"},
    ],
)
def test_a_password_of_redis_is_never_shown(home: Home, environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(home, environment)

    assert "s3cret" not in str(refused.value)


def test_the_settings_in_a_log_hold_no_password() -> None:
    settings = Settings(redis_url="redis://me:s3cret@db")

    assert "s3cret" not in f"{settings!r} {settings}"
    with pytest.raises(ValueError) as refused:
        Settings(redis_url="me:s3cret@db")
    assert "s3cret" not in str(refused.value)


def test_a_configuration_that_cannot_be_read_is_refused(home: Home) -> None:
    home.config_file.mkdir()

    with pytest.raises(SettingsError, match=r"config\.toml cannot be read"):
        Settings.load(home, {})


def test_a_configuration_in_another_encoding_is_refused(home: Home) -> None:
    home.config_file.write_bytes(b'claude_command = "\xe9"')

    with pytest.raises(SettingsError, match="not TOML"):
        Settings.load(home, {})


def test_the_home_is_absolute_and_its_default_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")

    assert home_from({"PHALANX_HOME": "lib/../team"}).root == Path("/usr/team")
    assert home_from({"PHALANX_HOME": "~/team", "HOME": "/home/x"}).root == Path("/home/x/team")
    assert home_from({"PHALANX_HOME": "", "HOME": "/home/x"}).root == Path("/home/x/.phalanx")


def test_the_table_of_settings_names_every_one_with_its_unit() -> None:
    rows = describe()

    assert [row.name for row in rows[1:]] == list(Settings.model_fields)
    assert {row.variable for row in rows if row.name} - {""} == setting_variables()
    assert all(row.meaning and row.allowed for row in rows)
    assert {row.name: row.unit for row in rows}["message_batch_delay"] == "ms"


def test_the_settings_of_a_team_are_kept_for_whoever_brings_a_part_of_it_back(home: Home) -> None:
    settings = Settings.load(
        written(home, 'allowed_work_dirs = ["/srv/a"]\nenv = {TOKEN = "s3cret"}'),
        {"REDIS_URL": "redis://user:pass@host:7000/3", "MESSAGE_BATCH_DELAY": "12.5"},
    )
    assert kept_settings(home) is None
    keep_settings(home, settings)
    assert kept_settings(home) == settings
    assert home.settings_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{", '{"agent": "nobody"}'])
def test_kept_settings_that_cannot_be_read_are_none(home: Home, text: str) -> None:
    home.settings_file.write_text(text)
    assert kept_settings(home) is None


def test_a_kept_setting_that_only_another_version_knows_is_left_out(home: Home) -> None:
    home.settings_file.write_text('{"agent": "demo", "of_the_future": 1}')
    assert kept_settings(home) == Settings(agent="demo")


def test_a_team_that_comes_back_has_what_was_changed_while_it_ran(home: Home) -> None:
    write_tuned(home, SavedChanges(values={"cache_size": 5}))
    written(home, "cache_size = 77\nmax_concurrent_spawns = 3\n")
    keep_settings(home, Settings.load(home, {}))
    write_tuned(home, SavedChanges(values={"max_concurrent_spawns": 9}, auto=True))

    kept = kept_settings(home)

    assert kept is not None
    assert (kept.max_concurrent_spawns, kept.cache_size, kept.tuned.auto) == (9, 77, True)
    assert (kept.configured.max_concurrent_spawns, kept.configured.cache_size) == (3, 77)


@pytest.mark.parametrize("text", ["{", '{"cache_size": -1}', '{"nonsense": 1}'])
def test_damage_to_what_was_changed_keeps_no_team_from_coming_back(home: Home, text: str) -> None:
    keep_settings(home, Settings(max_concurrent_spawns=3))
    home.tuned_file.write_text(text)

    assert kept_settings(home) == Settings(max_concurrent_spawns=3)


def test_what_was_set_since_a_team_was_brought_up_waits_and_what_was_tuned_does_not(home: Home) -> None:
    keep_settings(home, Settings.load(home, {"CACHE_SIZE": "17", "PHALANX_AGENT": "demo"}))
    assert waiting_settings(home, Settings.load(home, {"CACHE_SIZE": "17", "PHALANX_AGENT": "demo"})) == []
    write_tuned(home, SavedChanges(values={"cache_size": 5}))
    assert waiting_settings(home, Settings.load(home, {"PHALANX_AGENT": "demo", "CACHE_SIZE": "17"})) == []
    home.config_file.write_text("[env]\nA = '1'\n")
    assert waiting_settings(home, Settings.load(home, {"PHALANX_AGENT": "demo"})) == ["cache_size", "env"]


def test_a_team_whose_settings_are_not_known_has_none_that_wait(home: Home) -> None:
    assert waiting_settings(home, Settings(agent="demo")) == []
