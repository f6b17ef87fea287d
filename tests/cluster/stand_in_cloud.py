"""A cloud for ``test_autoscaler``: Ray's own stand-in for one, whose hosts are further Rays beside the head."""

from __future__ import annotations

import os

os.environ["RAY_FAKE_CLUSTER"] = "1"  # it refuses to work without, and a head of ours is given no such variable

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class StandInCloud(FakeMultiNodeProvider):
    """Named in the autoscaler's configuration; the autoscaler of the head makes one."""
