"""An instance in a process of its own that has no file descriptors left for a while, from the midst of a delivery on.

Run as ``python -m tests.integration.agents.starved_actor FILE``; the file is that of ``doomed_actor``, whose ``moment``
is "after the paste" or "adopted". Prints, as JSON: ``beats`` and ``lines`` (of the log) while it was starved, and
``receipts`` at the end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Any

from actors.tmux.pane import Pane
from tests.integration.agents.doomed_actor import adopted
from tests.integration.agents.pastes import around_pastes

STARVED_S = 4.0
BEAT_S = 0.05


class Counting(logging.Handler):
    lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        print(record.getMessage(), file=sys.stderr)


async def _main(told: dict[str, Any]) -> None:
    log = Counting()
    logging.getLogger().addHandler(log)
    instance, messages = await adopted(told)
    starved = asyncio.Event()
    if told["moment"] == "after the paste":

        async def starve(_pane: Pane) -> None:
            starved.set()
            _starve()

        around_pastes(after=starve)
    else:
        starved.set()
        _starve()
    await instance.deliver(messages)
    await starved.wait()
    log.lines = 0
    beats = 0
    loop = asyncio.get_running_loop()
    end = loop.time() + STARVED_S
    while loop.time() < end:
        await asyncio.sleep(BEAT_S)
        beats += 1
    lines = log.lines
    _feed()
    receipts: list[str] = []
    sequence = 0
    wanted = {message.id for message in messages}
    async with asyncio.timeout(40.0):
        while wanted:
            report = await instance.reports(sequence, 5.0)
            sequence = report.sequence
            receipts += [
                f"{receipt.message_id} {receipt.status} {receipt.reason}".rstrip() for receipt in report.receipts
            ]
            wanted -= {receipt.message_id for receipt in report.receipts if receipt.final}
    await instance.leave()
    print(json.dumps({"beats": beats, "lines": lines, "receipts": receipts}), flush=True)


def _starve() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - names are wanted
    for number in range(highest):  # no gap below is left either
        try:
            os.fstat(number)
        except OSError:
            os.dup2(0, number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))


def _feed() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
