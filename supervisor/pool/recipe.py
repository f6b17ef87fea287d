"""What a spare agent is made for: all that its start depends on. Only who asks for just that may have it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from supervisor.api.requests import SpawnRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    work_dir: Path
    agent: str
    model: str | None = None
    permission_mode: str | None = None
    environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.permission_mode in {None, "manual"}:  # the mode in which an agent starts that is told none
            object.__setattr__(self, "permission_mode", "default")

    @classmethod
    def of(cls, request: SpawnRequest, work_dir: Path, agent: str) -> Self | None:
        """None for what no spare is made for: an instance that shares its directory."""
        if request.workspace_mode != "isolated":
            return None
        return cls(
            work_dir=work_dir,
            agent=request.agent or agent,
            model=request.model,
            permission_mode=request.permission_mode,
            environment=tuple(sorted(request.env.items())),
        )

    @property
    def key(self) -> str:
        """Stands in records; the environment may hold secrets, which do not."""
        words = (str(self.work_dir), self.agent, self.model, self.permission_mode, self.environment)
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]
