from __future__ import annotations

import pytest

from supervisor.redis_url import SCHEMES, database_of, fault_in, password_of, watched, without_secrets


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://db", 0),
        ("redis://db/", 0),
        ("redis://db:7000/12", 12),
        ("redis://me:p%40ss%2F%23@db:7000/2", 2),
        ("redis://:only-a-password@[::1]:7000", 0),
        ("rediss://db/1?ssl_ca_certs=/etc/ca.pem&db=4", 4),
        ("unix:///run/redis.sock", 0),
        ("unix://me:pw@/run/redis.sock?db=3", 3),
        ("redis+cluster://node-1:7000", 0),
        ("redis+cluster://node-1:7000/0", 0),
        ("rediss+cluster://me:pw@node-1:7000", 0),
        ("redis+sentinel://one/mymaster", 0),
        ("redis+sentinel://me:p%40ss@one:26379,[::1]:26380/my%20master/3?sentinel_password=x", 3),
        ("rediss+sentinel://one,two,three/mymaster?db=4", 4),
    ],
)
def test_an_address_that_can_be_used_has_no_fault_and_one_database(url: str, database: int) -> None:
    assert fault_in(url) == ""
    assert database_of(url) == database


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("db:6379", "must begin with redis://"),
        ("db", "must begin with redis://"),
        ("http://db", "must begin with redis://"),
        ("redis:///1", "the host is missing"),
        ("redis://me:pw@", "the host is missing"),
        ("redis://db:0", "not a number from 1 to 65535"),
        ("redis://db:70000", "not a number from 1 to 65535"),
        ("redis://db:port", "not a number from 1 to 65535"),
        ("redis://db/one", "not the number of a database"),
        ("redis://db/1/2", "not the number of a database"),
        ("redis://db/-1", "not the number of a database"),
        ("redis://db?db=one", "not the number of a database"),
        ("redis+cluster://db/1", "has database 0 only"),
        ("rediss+cluster://db/1", "has database 0 only"),
        ("redis+sentinel://one:26379", "the name of the master is missing"),
        ("redis+sentinel://one:26379/", "the name of the master is missing"),
        ("redis+sentinel://one,,two/mymaster", "the host is missing"),
        ("redis+sentinel:///mymaster", "the host is missing"),
        ("redis+sentinel://one,two:port/mymaster", "not a number from 1 to 65535"),
        ("redis+sentinel://[::1]:1,[two]/mymaster", "hosts cannot be read"),
        ("redis+sentinel://one[::1]/mymaster", "hosts cannot be read"),
        ("redis://me:p[ss@db", "its host cannot be read"),
        ("redis+sentinel://one/mymaster/first", "not the number of a database"),
        ("unix://", "path of the socket is missing"),
        ("unix:///", "path of the socket is missing"),
        ("redis://db /1", "a space"),
        ("redis://db\n", "a control character"),
        ("redis://db\x00", "a control character"),
        ("redis://[::1/0", "its host cannot be read"),
        ("redis://:p#ss@db", "write / ? # @ and % as"),
        ("redis://:p/ss@db", "write / ? # @ and % as"),
        ("redis://:p?ss@db", "write / ? # @ and % as"),
    ],
)
def test_a_fault_is_told_in_words(url: str, words: str) -> None:
    assert words in fault_in(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://db:7000/2", "redis://db:7000/2"),
        ("redis://me:s3cret@db:7000/2", "redis://***@db:7000/2"),
        ("rediss://:s3cret@db", "rediss://***@db"),
        ("rediss://db/1?password=s3cret", "rediss://db/1?…"),
        ("unix://me:s3cret@/run/redis.sock?db=1", "unix://***@/run/redis.sock?…"),
        ("redis+sentinel://me:s3cret@one,two/mymaster/1", "redis+sentinel://***@one,two/mymaster/1"),
        ("redis+sentinel://one/mymaster?sentinel_password=s3cret", "redis+sentinel://one/mymaster?…"),
        ("redis://a@s3cret@db", "redis://***@db"),
        ("redis://[s3cret", "a Redis whose address cannot be read"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_named_to_whoever_gave_another(scheme: str) -> None:
    assert f"{scheme}://" in fault_in("db:6379")


def test_who_is_to_be_asked_for_the_master_is_read_from_the_address() -> None:
    found = watched(
        "rediss+sentinel://me:p%40ss@one:1,[::1],three/my%20master/3?ssl_ca_certs=/ca&sentinel_password=q%26"
    )

    assert found is not None
    assert found.sentinels == (("one", 1), ("::1", 26379), ("three", 26379))
    assert found.master == "my master"
    assert found.options == {"password": "q&"}
    assert found.url == "rediss://me:p%40ss@one:1/3?ssl_ca_certs=%2Fca"
    assert "p%40ss" not in repr(found)
    assert watched("redis://one/0") is None


@pytest.mark.parametrize("places", ["db", "[::1]:7000", "one,[::1],three"])
def test_the_password_is_read_whatever_stands_in_the_place_of_the_host(places: str) -> None:
    assert password_of(f"redis+sentinel://me:p%40ss@{places}/mymaster") == "p@ss"
    assert password_of(f"redis+sentinel://{places}/mymaster") == ""
