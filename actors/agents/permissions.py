"""Answering the permission hook of an agent that waits; called by the instance.

The hook (``hook.py``) waits on a FIFO that is named after the request's id. What is written there decides the request;
closing it without a word releases the hook, for a request that a person has decided in the terminal.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import select
from pathlib import Path

from actors.agents.base import Decision
from actors.agents.spool import PERMISSION_PREFIX
from actors.errors import InvalidRequestError, UnavailableError
from actors.files import try_flock

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
_ANSWERED_BY_INPUT = frozenset({"AskUserQuestion", "ExitPlanMode"})
"""Tools whose dialog newer versions of Claude Code leave open unless the input is given back. A call of any other tool
is then checked again, as if it had been changed: where a rule of the user asks, it asks anew, without a hook."""
_DRAIN_MS = 1000
"""The hook reads at once; only an answer longer than a pipe holds waits at all."""


def decision_text(decision: Decision) -> str:
    """What a hook prints to decide its request."""
    verdict: dict[str, object]
    if decision.allow and decision.tool in _ANSWERED_BY_INPUT:
        verdict = {"behavior": "allow", "updatedInput": _answered(decision)}
    elif decision.allow:
        verdict = {"behavior": "allow"}
    else:
        verdict = {"behavior": "deny", "message": decision.message or "Denied by the team's lead."}
    return json.dumps({"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": verdict}})


def _answered(decision: Decision) -> dict[str, object]:
    tool_input = dict(decision.tool_input)
    questions = tool_input.get("questions")
    if decision.tool == "AskUserQuestion" and isinstance(questions, list):
        given = {asked["question"]: decision.answers.get(asked["question"], decision.message) for asked in questions}
        tool_input["answers"] = {question: words for question, words in given.items() if words}
    return tool_input


def answer(instance_directory: Path, request_id: str, text: str) -> bool:
    """Gives ``text``, one line, to the waiting hook. False when nobody waits any more.

    Raises ``InvalidRequestError`` for an id that is none of ours or a text of several lines, ``UnavailableError`` when
    the hook cannot be reached now, as without free file descriptors: it waits on.
    """
    if "\n" in text:
        raise InvalidRequestError("The answer to a permission request is one line of JSON: see permission_answer.")
    fifo = _fifo(instance_directory, request_id)
    try:
        return _write(fifo, text.encode() + b"\n")
    except OSError as error:
        raise UnavailableError(f"The request still waits, but cannot be answered now ({error}): try again.") from error


def release(instance_directory: Path, request_id: str) -> bool:
    """Lets the waiting hook end without an answer. False when nobody waits any more.

    Where the hook cannot be reached, its FIFO is removed: it looks for that each second and ends without it.
    """
    fifo = _fifo(instance_directory, request_id)
    try:
        return _write(fifo, b"")
    except OSError:
        return _remove(fifo)


def waits(instance_directory: Path, request_id: str) -> bool:
    """Whether the hook of this request still waits: it holds a lock that the kernel frees with it."""
    try:
        reader = os.open(_fifo(instance_directory, request_id), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:  # as without free file descriptors: nothing says that it has ended
        return True
    try:
        return not try_flock(reader)
    finally:
        os.close(reader)


def _fifo(instance_directory: Path, request_id: str) -> Path:
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidRequestError(f"{request_id!r} is no permission request: take the id from its event.")
    return instance_directory / f"{PERMISSION_PREFIX}{request_id}"


def _remove(fifo: Path) -> bool:
    try:
        fifo.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("a permission hook that nobody needs any more waits on: %s", error)
        return False
    return True


def _write(fifo: Path, data: bytes) -> bool:
    """False when nobody reads. Raises ``OSError`` when that cannot be told."""
    try:
        writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        _remove(fifo)  # nobody reads: the hook was killed and could not remove it itself
        return False
    try:
        return _write_all(writer, data)
    finally:
        os.close(writer)


def _write_all(writer: int, data: bytes) -> bool:
    ready = select.poll()
    ready.register(writer, select.POLLOUT)
    rest = data
    while rest:
        if not ready.poll(_DRAIN_MS):
            return False
        try:
            rest = rest[os.write(writer, rest) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            return False
    return True
