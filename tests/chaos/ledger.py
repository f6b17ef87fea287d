"""What was asked, answered, killed and found, with times: in memory for the checks, as JSONL for whoever must
understand a failure.

The clients, the killer and the prober write; ``checks`` and ``figures`` read. All in one event loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.plan import Letter, Target


@dataclass(slots=True, kw_only=True)
class Fate:
    """What a client knows of one letter. Neither accepted nor refused: no answer ever told."""

    letter: Letter
    message_id: str = ""
    accepted_at: float = 0.0
    """Seconds since the epoch."""
    status: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """``at`` is seconds since the epoch. ``found`` is false when there was nothing to kill just then."""

    target: Target
    at: float
    found: bool
    undelivered: int = 0
    """Messages that were accepted and not yet in an agent's log."""
    being_typed: int = 0
    """Instances whose delivery was between its beginning and its proof."""
    calling: int = 0
    """Instances that had called the team and had no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One ``list`` of the prober; ``complaint`` is what was wrong with its answer."""

    asked_at: float
    answered_at: float
    answered: bool
    complaint: str = ""


@dataclass(slots=True)
class Ledger:
    path: Path
    fates: dict[int, Fate] = field(default_factory=dict)
    kills: list[Killed] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    """Calls that were repeated for long and never answered."""
    allowed: set[tuple[str, str]] = field(default_factory=set)
    """Instance and command of each permission request to which yes was said, whether that came through or not."""
    decisions: int = 0
    visits: int = 0
    """Of people at terminals."""

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def note(self, what: str, **fields: Any) -> None:
        line = {"at": round(time.time(), 4), "what": what, **fields}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def expect(self, letters: Iterable[Letter]) -> None:
        """Letters that will be sent."""
        self.fates.update({letter.number: Fate(letter=letter) for letter in letters})

    def answered(self, letters: Iterable[Letter], results: Iterable[dict[str, Any]]) -> None:
        """The answer to a send: one result a letter, as ``send_batch`` gives them."""
        now = time.time()
        for letter, result in zip(letters, results, strict=True):
            fate = self.fates[letter.number]
            self.note("fate", number=letter.number, result=result)
            fate.status = result.get("status", "")
            if result["success"]:
                fate.message_id, fate.accepted_at = result["messageId"], now
            else:
                fate.refusal = str(result.get("error") or result.get("reason") or result)

    def decided(self, instance_id: str, command: str, *, allow: bool) -> None:
        self.decisions += 1
        if allow:
            self.allowed.add((instance_id, command))
        self.note("decision", instance=instance_id, command=command, allow=allow)

    def killed(self, killed: Killed, **fields: Any) -> None:
        self.kills.append(killed)
        self.note(
            "kill",
            target=killed.target,
            found=killed.found,
            undelivered=killed.undelivered,
            being_typed=killed.being_typed,
            calling=killed.calling,
            **fields,
        )

    @property
    def accepted(self) -> dict[str, Letter]:
        """By message id."""
        return {fate.message_id: fate.letter for fate in self.fates.values() if fate.message_id}
