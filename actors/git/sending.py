"""The values of git as plain ones, for the way between a host's actor and the supervisor on its machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.git.values import READS, WRITES, Asked, Operation, Outcome, Proof

_KINDS = {kind.__name__: kind for kind in (*READS, *WRITES)}


def plain_asked(asked: Asked) -> tuple[Any, ...]:
    known = plain_proof(asked.known)
    return str(asked.directory), plain_operation(asked.operation), known, asked.guard


def asked_of(plain: tuple[Any, ...]) -> Asked:
    directory, operation, known, guard = plain
    return Asked(directory=Path(directory), operation=operation_of(operation), known=proof_of(known), guard=guard)


def plain_operation(operation: Operation) -> tuple[Any, ...]:
    kind = type(operation)
    return kind.__name__, *(getattr(operation, name) for name in kind.__slots__)


def operation_of(plain: tuple[Any, ...]) -> Operation:
    kind: Any = _KINDS[plain[0]]
    operation: Operation = kind(**dict(zip(kind.__slots__, plain[1:], strict=True)))
    return operation


def plain_proof(proof: Proof | None) -> tuple[Any, ...] | None:
    return None if proof is None else (proof.digest, proof.watched, proof.ignored, proof.guard)


def proof_of(plain: tuple[Any, ...] | None) -> Proof | None:
    if plain is None:
        return None
    digest, watched, ignored, guard = plain
    return Proof(digest=digest, watched=watched, ignored=ignored, guard=guard)


def plain_outcome(outcome: Outcome | None) -> tuple[Any, ...] | None:
    if outcome is None:
        return None
    error = None if outcome.error is None else dict(outcome.error)
    result = None if outcome.result is None else dict(outcome.result)
    proof = plain_proof(outcome.proof)
    return result, error, proof, outcome.unchanged, outcome.ignored, outcome.retries, outcome.took_s


def outcome_of(plain: tuple[Any, ...] | None) -> Outcome | None:
    if plain is None:
        return None
    result, error, proof, unchanged, ignored, retries, took_s = plain
    return Outcome(
        result=result,
        error=error,
        proof=proof_of(proof),
        unchanged=unchanged,
        ignored=ignored,
        retries=retries,
        took_s=took_s,
    )
