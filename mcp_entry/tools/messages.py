"""Tools that give instances messages."""

from __future__ import annotations

from mcp_entry import sizes, texts
from mcp_entry.tools.tool import ADDS, tool
from supervisor.api import requests, results
from supervisor.api.verbs import ProgressCallback
from supervisor.rpc.client import SupervisorClient


@tool("Send a message", ADDS, texts.of_send)
async def send(
    team: SupervisorClient, request: requests.SendRequest, on_progress: ProgressCallback
) -> results.SendResult:
    """Give one instance a message: more work, an answer, a correction. For several use send_batch.

    It is typed as text, never run as a command, never typed into a dialog. A busy instance takes it when its turn
    ends. Returns that it was accepted; with wait true, its fate: exact, or changes that Claude Code made in it.

    status: accepted = on its way. submitted = in the conversation (that is no answer yet: wait, then read). blocked =
    held while typing is not safe; reason says why and how to free it, then it goes on by itself. unconfirmed =
    typed, but no proof came: read before you consider sending it again. failed = did not arrive; see reason.

    Example: {"instanceId": "spec_1_1_7", "message": "Also cover the empty cart.", "wait": true}
    """
    return await team.send(request, on_progress)


@tool("Send many messages", ADDS, texts.of_send_batch)
async def send_batch(
    team: SupervisorClient, request: requests.SendBatchRequest, on_progress: ProgressCallback
) -> results.SendBatchResult:
    """Give many messages at once, to one or many instances; far quicker than send in a row.

    Messages to the same instance stay in order and may reach it as one turn. Returns results in the order given, each
    as send returns it, or an error; one that fails fails alone. Next: wait for the instances, then read them.

    Example: {"messages": [{"instanceId": "spec_1_1_7", "message": "Rebase on main."}, {"instanceId": "spec_1_1_8",
    "message": "Rebase on main."}], "wait": true}
    """
    return sizes.of_send_batch(await team.send_batch(request, on_progress))
