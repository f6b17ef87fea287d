from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import RECORD_VERSION, Message, encode
from actors.worktrees.model import Workspace
from supervisor.api.requests import Role, SpawnRequest
from supervisor.records import decode_record, encode_plain, encode_record
from supervisor.rpc.idempotency import IdempotencyStore
from supervisor.store import keys
from supervisor.team.registry import InstanceRecord
from supervisor.team.team import Team
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, receipt, record

PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).map(lambda text: Path("/") / text)
WORKSPACES = st.builds(
    Workspace,
    mode=st.sampled_from(["isolated", "shared"]),
    directory=PATHS,
    worktree=st.none() | PATHS,
    notes=st.lists(st.text()).map(tuple),
)
RECORDS = st.builds(
    InstanceRecord,
    instance_id=st.just("spec_0_0_1"),
    role=st.sampled_from(Role),
    work_dir=PATHS,
    workspace=st.none() | WORKSPACES,
    created_at=st.floats(allow_nan=False),
    ended_at=st.floats(allow_nan=False),
    resumed_at=st.floats(allow_nan=False),
    **{name: st.integers(0, 2**40) for name in ("number", "executive", "manager", "pid", "resumes")},
)
OF_ANOTHER_VERSION = bytes([RECORD_VERSION + 1]) + encode_record(record())[1:]
MESSAGE = Message(
    id="msg_1", instance_id="spec_0_0_1", sender="lead", text="t", immediate=False, accepted_at=1.0, number=4
)


@given(RECORDS)
def test_every_record_survives_its_way_through_the_store(any_record: InstanceRecord) -> None:
    assert decode_record(encode_record(any_record)) == any_record


def test_a_record_written_before_a_field_was_added_is_read_with_its_default() -> None:
    older = msgpack.unpackb(encode_record(record(resumes=3))[1:])
    del older["resumes"]
    assert decode_record(encode_plain(older)) == record()


async def load(records: dict[str, bytes]) -> tuple[Team, MemoryStore]:
    store = MemoryStore()
    await store.save(records)
    team = Team(store)
    await team.load()
    return team, store


def everything() -> dict[str, bytes]:
    request = dict(IdempotencyStore().note("r1", "content", [{"instance_id": "spec_0_0_1"}]).records)
    return {
        keys.instance("spec_0_0_1"): encode_record(record()),
        keys.message("msg_1"): encode(MESSAGE),
        keys.receipt("msg_1"): encode(receipt(MESSAGE)),
        keys.LAST_NUMBER: encode_plain(1),
        **request,
    }


@pytest.mark.parametrize("key", everything())
async def test_a_record_that_is_torn_anywhere_hinders_no_start_and_is_reported_and_kept(key: str) -> None:
    whole = everything()
    for length in range(len(whole[key])):
        torn = {**whole, key: whole[key][:length]}
        team, store = await load(torn)
        assert team.unreadable.keys == [key]
        assert key in team.warnings[0]
        assert await store.load("") == torn


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.sampled_from(sorted(everything())), st.binary(max_size=30) | JUNK)
def test_nothing_that_may_stand_in_a_record_hinders_a_start(key: str, found: Any) -> None:
    data = bytes([RECORD_VERSION]) + found if isinstance(found, bytes) else encode_plain(found)
    asyncio.run(load({**everything(), key: data}))


@given(st.sampled_from(sorted(everything())), st.data())
def test_nothing_that_may_stand_in_a_field_hinders_a_start(key: str, data: st.DataObject) -> None:
    whole = everything()
    fields = msgpack.unpackb(whole[key][1:])
    if isinstance(fields, dict):
        fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(JUNK)
        asyncio.run(load({**whole, key: encode_plain(fields)}))


async def test_an_unreadable_instance_keeps_its_record_its_number_and_its_messages() -> None:
    strange = {
        keys.instance("spec_0_0_41"): OF_ANOTHER_VERSION,
        keys.message("msg_1"): encode(replace(MESSAGE, instance_id="spec_0_0_41")),
    }
    team, store = await load(strange)
    await add_member(team, 2)
    made = team.registry.add(
        SpawnRequest.model_validate({"role": "specialist", "workDir": "/project", "context": "go"}),
        agent="demo",
        session_id="s",
        now=1.0,
    )
    assert made.record.instance_id == "spec_0_0_42"
    await team.save("spec_0_0_42")
    assert team.unreadable.instance_ids == ("spec_0_0_41",)
    now = await store.load("")
    assert {key: now[key] for key in strange} == strange


async def test_a_counter_of_another_version_is_not_overwritten() -> None:
    counter = {keys.LAST_NUMBER: bytes([RECORD_VERSION + 1, 9])}
    team, store = await load({**counter, keys.instance("spec_0_0_7"): encode_record(record(7))})
    assert team.registry.last_number == 7
    await add_member(team, 8)
    await team.confirm()
    assert await store.load(keys.LAST_NUMBER) == counter


@pytest.mark.parametrize("readable", [{}, {"team/last_number": encode_plain(3)}])
async def test_what_can_be_read_gives_no_warning(readable: dict[str, Any]) -> None:
    team, _ = await load(readable)
    assert team.warnings == []
