from __future__ import annotations

from typing import Any

import pytest

from actors.errors import InvalidRequestError
from supervisor.api import requests
from supervisor.api.verbs import Caller
from supervisor.cluster.service import NoClusterService


@pytest.mark.parametrize(
    ("verb", "request_"), [("hosts", requests.HostsRequest()), ("drain", requests.DrainRequest(host="other"))]
)
async def test_a_team_on_one_machine_refuses_the_verbs_of_hosts_and_says_how_to_get_more(
    verb: str, request_: Any
) -> None:
    with pytest.raises(InvalidRequestError, match=r"on one machine, .*docs/cluster\.md"):
        await NoClusterService().verbs[verb](request_, Caller(sender="lead"))
