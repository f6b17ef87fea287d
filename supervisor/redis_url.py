"""The address of a team's Redis: which forms are possible, and how it is shown without secrets. Pure.

``settings`` checks a person's address with it; ``phalanx doctor`` and the store show addresses through it. Texts about
a fault do not quote the address: it may hold a password, and in a broken address nobody knows where.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, parse_qsl, unquote, urlencode, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
"""One server (plain, with TLS, over a Unix socket); a cluster, found through any of its nodes; a master that its
sentinels name."""
_CLUSTER, _SENTINEL = "+cluster", "+sentinel"
_SENTINEL_PORT = 26_379
_OF_SENTINELS = "sentinel_"
"""Prefix of options in the query that are for the sentinels: ``sentinel_password``, ``sentinel_username``."""
_HIGHEST_PORT = 65_535
_BEGINNING = re.compile(r"([^:/?#]+://)([^/?#]*)", re.DOTALL)
"""The scheme, and all between the two slashes and the path."""
_PLACE = re.compile(r"(?:\[[^\[\]]*\]|[^\[\]]*)(?::[^\[\]]*)?")
"""A host, perhaps in brackets, and its port. Some versions of Python do not check where the brackets are."""
_ENCODING = "In a user name or password write / ? # @ and % as %2F %3F %23 %40 and %25"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelMaster:
    """A master that its sentinels name."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    """Its name."""
    options: dict[str, str] = field(repr=False)
    """User and password for the sentinels, if they need them."""
    url: str = field(repr=False)
    """The URL of a single Redis, with a sentinel as its host."""


def from_parts(host: str, port: int, database: int) -> str:
    """The URL of a plain Redis."""
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"redis://{bracketed}:{port}/{database}"


def fault_in(url: str) -> str:
    """Says what is wrong with the URL without quoting it; empty when it is valid."""
    parts = _split(url)
    if any(character.isspace() or not character.isprintable() for character in url):
        return "it holds a space or a control character"
    if parts.scheme not in SCHEMES:
        return f"it must begin with {', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or {SCHEMES[-1]}://"
    if parts.fragment or "@" in parts.path + parts.query:
        return f"it cannot be read after the host. {_ENCODING}"
    return _fault_in_place(parts) or _fault_in_database(parts)


def is_cluster(url: str) -> bool:
    return _split(url).scheme.endswith(_CLUSTER)


def single(url: str) -> str:
    """The URL in the form that Redis' own clients read."""
    return url.replace(_CLUSTER, "", 1) if is_cluster(url) else url


def watched(url: str) -> SentinelMaster | None:
    """The master and sentinels of a valid URL; None when it names none."""
    parts = _split(url)
    if not parts.scheme.endswith(_SENTINEL):
        return None
    user_info, at, places = parts.netloc.rpartition("@")
    options = parse_qsl(parts.query)
    name, _, database = parts.path.strip("/").partition("/")
    first = places.partition(",")[0]
    plain = urlencode([(key, value) for key, value in options if not key.startswith(_OF_SENTINELS)])
    return SentinelMaster(
        sentinels=tuple((each.hostname or "", each.port or _SENTINEL_PORT) for each in _places(parts)),
        master=unquote(name),
        options={key.removeprefix(_OF_SENTINELS): value for key, value in options if key.startswith(_OF_SENTINELS)},
        url=f"{parts.scheme.removesuffix(_SENTINEL)}://{user_info}{at}{first}/{database or 0}?{plain}",
    )


def database_of(url: str) -> int:
    """The number of the database in a valid URL. As in redis-py, one in the query wins."""
    return int(_database(_split(url)) or 0)


def password_of(url: str) -> str:
    """The password in a valid URL; empty when there is none."""
    return unquote(_split(url).password or "")


def without_secrets(url: str) -> str:
    """The URL for people, without user, password and query, which may hold secrets too."""
    parts = _split(url)
    try:
        _places(parts)
    except ValueError:
        return "a Redis whose address cannot be read"
    user_info, at, place = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{'***@' if user_info or at else ''}{place}{parts.path}{'?…' if parts.query else ''}"


def _fault_in_place(parts: SplitResult) -> str:
    if parts.scheme == "unix":
        return "" if parts.path.strip("/") else "the path of the socket is missing, as in unix:///run/redis.sock"
    is_watched = parts.scheme.endswith(_SENTINEL)
    if is_watched and not parts.path.strip("/").partition("/")[0]:
        return "the name of the master is missing, as in redis+sentinel://one:26379,two:26379/mymaster/0"
    try:
        places = _places(parts)
    except ValueError:
        return f"{'one of its hosts' if is_watched else 'its host'} cannot be read. {_ENCODING}"
    return next(filter(None, map(_fault_in_host, places)), "")


def _fault_in_host(parts: SplitResult) -> str:
    if not parts.hostname:
        return "the host is missing"
    try:
        port = parts.port
    except ValueError:
        port = 0
    return "" if port is None or port else f"its port is not a number from 1 to {_HIGHEST_PORT}. {_ENCODING}"


def _fault_in_database(parts: SplitResult) -> str:
    number = _database(parts)
    if number and not (number.isascii() and number.isdigit()):
        return f"the part after the host is not the number of a database, as in redis://host:6379/0. {_ENCODING}"
    return "a Redis Cluster has database 0 only" if parts.scheme.endswith(_CLUSTER) and int(number or 0) else ""


def _split(url: str) -> SplitResult:
    """As ``urlsplit``, but takes the host part as it is. Each version of Python checks it in another way, and some
    refuse several hosts when one of them is in brackets."""
    beginning = _BEGINNING.match(url)
    if beginning is None:
        return SplitResult("", "", url, "", "")
    return urlsplit(beginning[1] + url[beginning.end() :])._replace(netloc=beginning[2])


def _places(parts: SplitResult) -> list[SplitResult]:
    """The hosts with their ports. Raises ``ValueError`` when one cannot be read."""
    user_info, _, listed = parts.netloc.rpartition("@")
    if "[" in user_info or "]" in user_info:
        raise ValueError("the part before the host is not encoded")
    each = listed.split(",") if parts.scheme.endswith(_SENTINEL) else [listed]
    if not all(map(_PLACE.fullmatch, each)):
        raise ValueError("a bracket stands where none may stand")
    return [urlsplit(f"//{place}") for place in each]


def _database(parts: SplitResult) -> str:
    given = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme.endswith(_SENTINEL):
        return given or unquote(parts.path.strip("/").partition("/")[2])
    return given or ("" if parts.scheme == "unix" else unquote(parts.path).strip("/"))
