"""Whose a connection is, by tables as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcp_entry.web import peers

CLIENT, SERVER = 40_000, 23_764
OURS, OTHER, ROOT = os.getuid(), os.getuid() + 1, 0
ESTABLISHED, TIME_WAIT, CLOSE_WAIT = "01", "06", "08"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def _line(local: int, remote: int, state: str, user: int, address: str = "0100007F") -> str:
    places = f"{address}:{local:04X} {address}:{remote:04X}"
    return f"   0: {places} {state} 00000000:00000000 00:00000000 00000000 {user:5d}        0 1234 1\n"


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Without any socket."""
    found = tmp_path / "tcp", tmp_path / "tcp6"
    for table in found:
        table.write_text(HEAD)
    monkeypatch.setattr(peers, "_TABLES", found)
    return found


@pytest.mark.parametrize(
    ("user", "state", "own"),
    [
        (OURS, ESTABLISHED, True),
        (ROOT, ESTABLISHED, True),
        (OTHER, ESTABLISHED, False),
        (ROOT, TIME_WAIT, False),  # so the kernel shows what another user has just closed
        (OURS, CLOSE_WAIT, False),
    ],
)
def test_the_user_of_an_open_connection_counts(tables: tuple[Path, Path], user: int, state: str, own: bool) -> None:
    tables[0].write_text(HEAD + _line(SERVER, CLIENT, ESTABLISHED, OURS) + _line(CLIENT, SERVER, state, user))
    assert peers.is_own_user(CLIENT, SERVER) is own


def test_a_client_of_both_versions_of_ip_is_found(tables: tuple[Path, Path]) -> None:
    mapped = "0000000000000000FFFF00000100007F"
    tables[0].write_text(HEAD + _line(SERVER, CLIENT, ESTABLISHED, OURS))
    tables[1].write_text(HEAD + _line(CLIENT, SERVER, ESTABLISHED, OURS, mapped))
    assert peers.is_own_user(CLIENT, SERVER)


@pytest.mark.parametrize("client", [CLIENT, 0])
def test_a_connection_that_the_tables_do_not_have_is_refused(tables: tuple[Path, Path], client: int) -> None:
    tables[0].write_text(HEAD + _line(CLIENT + 1, SERVER, ESTABLISHED, OURS))
    assert not peers.is_own_user(client, SERVER)


def test_a_connection_that_one_reading_has_missed_is_looked_for_again(
    tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, texts = Path.read_text, [HEAD, HEAD, HEAD + _line(CLIENT, SERVER, ESTABLISHED, OURS)]
    monkeypatch.setattr(Path, "read_text", lambda path: texts.pop(0) if path in tables else read(path))
    assert peers.is_own_user(CLIENT, SERVER)


def test_where_no_table_can_be_read_everybody_may_try(tables: tuple[Path, Path]) -> None:
    for table in tables:
        table.unlink()
    assert peers.is_own_user(CLIENT, SERVER)
