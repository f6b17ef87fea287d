"""Plans what must be done so that records, panes and actors agree again. Pure; ``Recovery`` carries the plan out.

``plan`` compares the supervisor's records with the sessions on the team's own tmux server and with the team's actors in
Ray. It is called when the supervisor comes back and periodically afterwards. It guarantees:

- A wanted agent that lives is adopted where it is: never restarted, never ended, never doubled.
- A spawn that never finished is undone. A termination that never finished is finished. What an unknown instance has
  left is ended. A session whose name is no instance's id is left alone.
- An instance that is being started, restarted or ended, or whose record cannot be read (``busy``), is left alone.
- After the acts of a plan, the plan is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from actors.agents.base import RunningAgent
from supervisor.team.registry import InstanceRecord, InstanceStage, is_instance_id

ENDED_UNSEEN = "its agent has ended while the team was not there to see it; restart goes on with its conversation"


@dataclass(frozen=True, slots=True)
class Adopt:
    """Follow the agent in this pane."""

    instance_id: str
    pane_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class NoteEnd:
    """Record that the agent has ended by itself."""

    instance_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FinishTermination:
    """End what is left of an instance that was terminated."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Remove all that a spawn, which never finished, has made."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class EndAgent:
    """End the agent and its session: no instance has them."""

    session_name: str


@dataclass(frozen=True, slots=True)
class EndActor:
    """End the actor of this name: it has no agent to follow."""

    actor: str


Act = Adopt | NoteEnd | FinishTermination | Undo | EndAgent | EndActor


def plan(
    records: Sequence[InstanceRecord],
    agents: Iterable[RunningAgent],
    actors: Collection[str],
    *,
    followed: Collection[str],
    busy: Collection[str],
) -> tuple[Act, ...]:
    """``followed`` and ``busy`` are instance ids; ``actors`` are names of actors."""
    sessions = {agent.session_name: agent for agent in agents}
    acts: list[Act] = []
    settled: set[str] = set(busy)
    for record in records:
        if record.instance_id in busy:
            settled.add(record.actor_name)
            continue
        act = _for_record(record, sessions.get(record.session_name), record.instance_id in followed)
        if act is not None:
            acts.append(act)
        if act is not None or record.instance_id in followed:
            settled.add(record.actor_name)
    known = {name for record in records for name in (record.session_name, record.place)} | set(busy)
    acts.extend(EndAgent(name) for name in sessions if name not in known and is_instance_id(name))
    acts.extend(EndActor(name) for name in sorted(set(actors) - settled))
    return tuple(acts)


def _for_record(record: InstanceRecord, session: RunningAgent | None, followed: bool) -> Act | None:
    agent = session if session is not None and session.alive else None
    begun = agent is not None and agent.pid == record.pid and not record.is_spare
    if (record.stage is InstanceStage.STARTING and not begun) or (
        record.stage is InstanceStage.SPARE and agent is None
    ):
        return Undo(record.instance_id)
    if not record.wanted:
        ended = record.stage is InstanceStage.STOPPED and agent is None and not followed
        return None if ended else FinishTermination(record.instance_id)
    if agent is not None:
        same = (agent.pane_id, agent.pid) == (record.pane_id, record.pid)
        known = record.stage in {InstanceStage.RUNNING, InstanceStage.SPARE} and followed and same
        return None if known else Adopt(record.instance_id, agent.pane_id, agent.pid)
    if record.stage is InstanceStage.RUNNING and not followed:
        return NoteEnd(record.instance_id, ENDED_UNSEEN)
    return None


def subject(act: Act) -> str:
    """The instance that an act is about. Sessions are named after instances; an orphan actor has only its own name."""
    match act:
        case EndAgent(session_name):
            return session_name
        case EndActor(actor):
            return actor
        case _:
            return act.instance_id
