"""Several instances at once, over real tmux, git and demo agents; and what the configuration forbids a lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import InvalidRequestError
from actors.home import Home
from actors.host.host import Host
from actors.status import Status
from supervisor.api import requests
from supervisor.api.requests import ShutdownRequest
from supervisor.build import build_supervisor
from supervisor.settings import Settings
from supervisor.supervisor import Supervisor
from tests.fakes.store import MemoryStore
from tests.integration.supervisor.calls import settle_supervisor, specialist
from tests.integration.supervisor.conftest import LEAD, environment_of
from tests.integration.supervisor.runs import Actors


async def test_several_are_restarted_and_terminated_by_one_call_each_and_an_unknown_one_fails_alone(
    supervisor: Supervisor, repository: Path
) -> None:
    members = [specialist(repository, "hello", role="manager"), specialist(repository)]
    spawned = await supervisor.spawn_batch(requests.SpawnBatchRequest(instances=members), LEAD)
    manager, other = [each.instance_id or "" for each in spawned.instances]
    below = (await supervisor.spawn(specialist(repository, parentId=manager), LEAD)).instance_id
    await settle_supervisor(supervisor, manager, other, below)

    again = await supervisor.restart(requests.RestartRequest(instance_ids=[other, "spec_9_9_9", below]), LEAD)
    assert again.restarted is not None
    assert [each.success for each in again.restarted] == [True, False, True]
    assert again.restarted[0].status is Status.READY

    request = requests.TerminateRequest(instance_ids=[manager, below, "spec_9_9_9", other], cascade=True)
    ended = await supervisor.terminate(request, LEAD)
    assert [(each.instance_id, each.error is None) for each in ended.terminated] == [
        (below, True),
        (manager, True),
        ("spec_9_9_9", False),
        (other, True),
    ]
    assert {each.status for each in ended.terminated} == {Status.STOPPED, None}
    listed = await supervisor.list(requests.ListRequest(), LEAD)
    assert (listed.instances, listed.not_shown) == ([], 3)


async def test_instances_that_ask_for_nothing_are_started_only_where_the_configuration_allows_it(
    supervisor: Supervisor, repository: Path, home: Home, host: Host, actors: Actors
) -> None:
    asked = specialist(repository, permissionMode="bypassPermissions")
    with pytest.raises(InvalidRequestError, match="allow_bypass_permissions = true"):
        await supervisor.spawn(asked, LEAD)
    assert not list(home.worktrees.iterdir())

    allowed = Settings.load(home, {**environment_of(home), "PHALANX_ALLOW_BYPASS_PERMISSIONS": "true"})
    made = build_supervisor(home, allowed, host, actors, MemoryStore())
    await made.recover()
    try:
        assert (await made.spawn(asked, LEAD)).instance_id
    finally:
        await made.shutdown(ShutdownRequest(), LEAD)
        await made.close()
