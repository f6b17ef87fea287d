"""The tools that a lead sees: one thin function a tool; its docstring is the description the lead reads.

``server`` serves ``TOOLS``. A function only hands its typed request to the supervisor; a tool keeps no state. Clients
cut descriptions at 2048 characters, so none may be longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mcp_entry.tools.acting import interrupt, recycle, respond, restart, terminate
from mcp_entry.tools.git import git_batch
from mcp_entry.tools.looking import list_, read, wait
from mcp_entry.tools.messages import send, send_batch
from mcp_entry.tools.performance import get_performance, optimize_settings
from mcp_entry.tools.pool import prewarm_resources
from mcp_entry.tools.spawning import spawn, spawn_batch
from mcp_entry.tools.tool import Tool

_ALL = (
    spawn,
    spawn_batch,
    send,
    send_batch,
    read,
    list_,
    wait,
    respond,
    interrupt,
    terminate,
    restart,
    recycle,
    get_performance,
    optimize_settings,
    git_batch,
    prewarm_resources,
)
TOOLS: Mapping[str, Tool] = MappingProxyType({each.name: each for each in _ALL})
