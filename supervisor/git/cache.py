"""Answers of git that are kept: the least recently used go first, and none is given after its time.

That an answer still holds is not known here: the host sees it by the answer's proof, each time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.git.values import Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    result: Mapping[str, Any]
    proof: Proof
    at: float


class AnswerCache:
    """``size`` 0 keeps nothing."""

    def __init__(self, size: int, ttl_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._now = now
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        return self._size

    @property
    def ttl_s(self) -> float:
        return self._ttl_s

    def get(self, key: Hashable) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._now() - kept.at >= self._ttl_s:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: Hashable, result: Mapping[str, Any], proof: Proof) -> int:
        """How many others had to go for it."""
        self._kept[key] = Kept(result=result, proof=proof, at=self._now())
        self._kept.move_to_end(key)
        surplus = self._shrink()
        return surplus if self._size else 0

    def drop(self, key: Hashable) -> None:
        self._kept.pop(key, None)

    def resize(self, size: int, ttl_s: float) -> None:
        self._size, self._ttl_s = size, ttl_s
        self._shrink()

    def _shrink(self) -> int:
        surplus = max(0, len(self._kept) - self._size)
        for _ in range(surplus):
            self._kept.popitem(last=False)
        return surplus
