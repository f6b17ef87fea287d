"""Tools that give instances messages."""

from __future__ import annotations

from mcp_entry import texts
from mcp_entry.tools.tool import ADDS, tool
from supervisor import requests, results
from supervisor.client import SupervisorClient
from supervisor.verbs import ProgressCallback


@tool("Send a message", ADDS, texts.of_send)
async def send(
    team: SupervisorClient, request: requests.SendRequest, on_progress: ProgressCallback
) -> results.SendResult:
    """Give one instance a message: more work, an answer, a correction. For several messages use send_batch.

    The text is never run as a command and never typed into a dialog. It may be sent at any time: a busy instance takes
    it when its turn ends. Without wait the answer is only that it was accepted; with wait true the call returns when
    its fate is known, and says whether every character arrived (exact) or what Claude Code changed (changes).

    status: accepted = on its way. submitted = it is in the instance's conversation (that is not yet an answer: wait,
    then read). blocked = held back while typing is not safe; reason says why now and how to free it (a permission: look
    with list and respond), and the message goes on by itself. unconfirmed = typed, but no proof came: read the instance
    before you consider sending it again. failed = it did not arrive; reason says why.

    Example: {"instanceId": "spec_1_1_7", "message": "Also cover the empty cart.", "wait": true}
    """
    return await team.send(request, on_progress)


@tool("Send many messages", ADDS, texts.of_send_batch)
async def send_batch(
    team: SupervisorClient, request: requests.SendBatchRequest, on_progress: ProgressCallback
) -> results.SendBatchResult:
    """Give many messages at once, to one or many instances; far quicker than send in a row.

    Messages to the same instance stay in order and may reach it as one turn. Returns results in the order given,
    each with success, messageId and status (see send), or an error; a message that fails fails alone. With wait true
    the call returns when the fate of each is known. Next: wait for the instances, then read them.

    Example: {"messages": [{"instanceId": "spec_1_1_7", "message": "Rebase on main."}, {"instanceId": "spec_1_1_8",
    "message": "Rebase on main."}], "wait": true}
    """
    return await team.send_batch(request, on_progress)
