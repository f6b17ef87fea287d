"""The files by which an agent and its actor meet, in the private directory of the instance.

``SPOOL_NAME`` takes the agent's events, one a line, and outlives every actor. Two write it: the host appends
``LAUNCH_MARK`` before each start, and the agent appends its events. An agent knocks on the FIFO ``KNOCK_NAME`` after
each event: that wakes the actor at once, which otherwise looks only every two seconds. The other names are for an
agent that asks for permissions or can be told something with a prompt. Claude Code's hook starts for each event and
imports this, so it imports only what is nearly free.
"""

from __future__ import annotations

import os

SPOOL_NAME = "events.jsonl"
LAUNCH_MARK = b'{"phalanx_launch":true}'
"""The line that the host appends before it starts the agent: what stands before is of an earlier life."""
KNOCK_NAME = "knock"
PERMISSION_PREFIX = "permission-"
"""Begins the name of the FIFO of a permission request; the request's id follows. Who waits there holds a shared flock
on it, and reads one line; see ``Agent.permission_answer``."""
TELL_NAME = "tell.json"
"""What a spare agent is told with its next prompt, see ``Agent.introduction``. ``TOLD_NAME``: it was told."""
TOLD_NAME = "told.json"


def append(directory: str, event: bytes) -> None:
    """Puts an event without newlines on a line of its own, even after a torn one, and knocks. Raises ``OSError``."""
    spool = os.open(f"{directory}/{SPOOL_NAME}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(spool, b"\n" + event + b"\n")
    finally:
        os.close(spool)
    _knock(directory)


def context(directory: str) -> bytes:
    """What the agent is to be told with this prompt, once; empty when there is nothing."""
    try:
        with open(f"{directory}/{TELL_NAME}", "rb") as file:  # noqa: PTH123 - pathlib would double the start-up cost
            text = file.read()
        os.rename(f"{directory}/{TELL_NAME}", f"{directory}/{TOLD_NAME}")  # noqa: PTH104
    except OSError:
        return b""
    return text


def forget_told(directory: str) -> None:
    """A conversation that begins anew does not hold what was told in the one before."""
    try:
        os.rename(f"{directory}/{TOLD_NAME}", f"{directory}/{TELL_NAME}")  # noqa: PTH104
    except OSError:
        return


def _knock(directory: str) -> None:
    # Opening a FIFO for reading and writing never waits for the other side.
    try:
        knock = os.open(f"{directory}/{KNOCK_NAME}", os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.write(knock, b"k")
    except BlockingIOError:
        return
    finally:
        os.close(knock)
