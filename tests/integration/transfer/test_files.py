"""Conversations that go along with an instance."""

from __future__ import annotations

from tests.integration.transfer.conftest import Hosts


async def test_a_file_that_grows_is_copied_from_where_the_copy_ends(hosts: Hosts) -> None:
    original, copy = hosts.root / "talk.jsonl", hosts.root / "kept" / "talk.jsonl"
    original.write_text("one\n")
    await hosts.head.copy_file(copy, hosts.worker, original)
    with original.open("a") as file:
        file.write("two\n")

    await hosts.head.copy_file(copy, hosts.worker, original)

    assert copy.read_text() == "one\ntwo\n"
    assert copy.stat().st_mode & 0o777 == 0o600
    await hosts.head.copy_file(copy, hosts.worker, hosts.root / "nothing")
    assert copy.read_text() == "one\ntwo\n"


async def test_a_file_that_is_brought_anew_has_nothing_of_what_was_there(hosts: Hosts) -> None:
    original, stale = hosts.root / "talk.jsonl", hosts.root / "there" / "talk.jsonl"
    original.write_text("one\ntwo\n")
    stale.parent.mkdir()
    stale.write_text("one\nwhat nobody knows of any more\n")

    await hosts.head.copy_file(stale, hosts.worker, original, anew=True)

    assert stale.read_text() == "one\ntwo\n"
