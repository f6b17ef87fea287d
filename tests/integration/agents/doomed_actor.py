"""An instance in a process of its own that kills itself with SIGKILL at a given moment of a delivery.

Run as ``python -m tests.integration.agents.doomed_actor FILE``; the file is JSON: ``directory``, ``session_id``,
``tmux_socket``, ``pane_id``, ``pid``, ``moment`` and ``messages`` (encoded, in hexadecimal). ``moment`` is one of
``MOMENTS``; or ``client pastes``: then it stops the tmux server before tmux's own program pastes, prints ``pastes`` and
waits; or ``paste on its way``: then it stops the tmux server before that has read the text, and dies. Prints
``adopted`` once it follows the agent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from actors.agents.catalog import AgentCatalog
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.instance.journal import ReceiptLog
from actors.messages import Message, MessageStatus, decode
from actors.tmux.pane import Pane
from actors.tmux.protocol import ClientProtocol
from tests.integration.agents.pastes import around_pastes

MOMENTS = ("before the paste", "after the paste", "after Enter", "after the proof")
LIMITS = BatchLimits(size=50, delay_s=0.0)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _doom(moment: str) -> None:
    """Makes the part that acts at this moment the last that this process does."""
    _replace(Pane, "paste", moment, before="before the paste", after="after the paste")
    _replace(Pane, "press", moment, after="after Enter")
    if moment == "client pastes":
        _replace_paste_by_one_that_waits()
    if moment == "paste on its way":
        _replace_paste_by_one_that_dies_with_its_text_sent()
    settle = ReceiptLog.settle

    def last_settle(receipts: ReceiptLog, messages: Sequence[Message], status: MessageStatus, reason: str = "") -> None:
        if moment == "after the proof" and status is MessageStatus.SUBMITTED and messages:
            _die()
        settle(receipts, messages, status, reason)

    setattr(ReceiptLog, "settle", last_settle)  # noqa: B010


def _replace(owner: type, name: str, moment: str, *, before: str = "", after: str) -> None:
    act: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def last(*arguments: Any) -> Any:
        if moment == before:
            _die()
        done = await act(*arguments)
        if moment == after:
            _die()
        return done

    setattr(owner, name, last)


def _replace_paste_by_one_that_waits() -> None:
    async def let_the_server_hang(pane: Pane) -> None:
        os.kill(await _server_pid(pane), signal.SIGSTOP)
        print("pastes", flush=True)
        pane._tmux.call_the_program("so that it outlives us")

    around_pastes(before=let_the_server_hang)


def _replace_paste_by_one_that_dies_with_its_text_sent() -> None:
    hear = ClientProtocol.hear

    async def die_once_it_is_sent(pane: Pane) -> None:
        server_pid = await _server_pid(pane)

        def hear_and_die(dialogue: ClientProtocol, heard: bytes) -> bytes:
            said = hear(dialogue, heard)
            if said:
                os.kill(server_pid, signal.SIGSTOP)
                asyncio.get_running_loop().call_soon(_die)  # it is sent before the loop comes to that
            return said

        setattr(ClientProtocol, "hear", hear_and_die)  # noqa: B010

    around_pastes(before=die_once_it_is_sent)


async def _server_pid(pane: Pane) -> int:
    return int(await pane._tmux.run("display-message", "-p", "#{pid}"))


async def adopted(told: dict[str, Any]) -> tuple[Instance, list[Message]]:
    """The instance that follows the agent of the file, and what is to be delivered to it."""
    config = InstanceConfig(
        instance_id="spec_1",
        agent="demo",
        session_id=told["session_id"],
        directory=Path(told["directory"]),
        tmux_socket=Path(told["tmux_socket"]),
        limits=LIMITS,
    )
    # The demo's records are read by the same code as those of the real program.
    instance = Instance(AgentCatalog(claude_command="claude", python=sys.executable))
    await instance.adopt(config, told["pane_id"], told["pid"])
    return instance, [decode(Message, bytes.fromhex(each)) for each in told["messages"]]


async def _main(told: dict[str, Any]) -> None:
    _doom(told["moment"])
    instance, messages = await adopted(told)
    print("adopted", flush=True)
    await instance.deliver(messages)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
