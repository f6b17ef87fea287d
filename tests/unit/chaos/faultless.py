"""A small team's ledger and logs as they should be, for tests that falsify them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tests.chaos import arrivals
from tests.chaos.arrivals import Arrival
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Letter

IDS = ("spec_0_0_1", "spec_0_0_2")
CONTEXTS = {instance_id: f"You are {instance_id}." for instance_id in IDS}


def letter(number: int, client: str = "a", instance_id: str = IDS[0]) -> Letter:
    return Letter(number=number, client=client, instance_id=instance_id, text=f"order {number} of {client}\nand more")


LETTERS = (letter(1), letter(2), letter(3, instance_id=IDS[1]), letter(4, "b"), letter(5))


def message_id(number: int) -> str:
    return f"msg_{number:012d}"


def ledger(path: Path, letters: Iterable[Letter] = LETTERS) -> Ledger:
    """Every letter was accepted."""
    made = Ledger(path / "ledger.jsonl")
    made.expect(letters)
    for each in letters:
        made.answered([each], [{"success": True, "messageId": message_id(each.number), "status": "accepted"}])
    return made


def log(instance_id: str, letters: Iterable[Letter] = LETTERS) -> bytes:
    """``demo-log.jsonl`` with the context and then all letters of one instance in one paste."""
    prompts = [f"[phalanx msg_c0 from lead]\n{CONTEXTS[instance_id]}"]
    mine = [f"[phalanx {message_id(e.number)} from lead]\n{e.text}" for e in letters if e.instance_id == instance_id]
    prompts += ["\n\n".join(mine)] if mine else []
    return b"".join(json.dumps({"at": 7.0, "prompt": prompt}).encode() + b"\n" for prompt in prompts)


def logs(letters: Iterable[Letter] = LETTERS) -> list[Arrival]:
    return [each for instance_id in IDS for each in arrivals.of_demo(instance_id, log(instance_id, letters))]
