"""What must be done so that registry, panes and actors agree again; pure.

``plan`` compares what the supervisor's records say with the sessions on the team's own tmux server and with the actors
that Ray knows of this team. It is asked when the supervisor comes back and now and then afterwards. Guarantees:

- An agent that lives and is wanted is adopted where it is: never restarted, never ended, never doubled.
- What belongs to a spawn that never finished is undone; what belongs to nobody is ended.
- Whoever is just being started, restarted or ended (``busy``) is left alone.
- After the acts of a plan, the plan is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from actors.agents.base import RunningAgent
from supervisor.registry import InstanceRecord, Stage

ENDED_UNSEEN = "its agent has ended while the team was not there to see it; restart goes on with its conversation"


@dataclass(frozen=True, slots=True)
class Adopt:
    """Follow the agent in this pane."""

    instance_id: str
    pane_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class NoteEnd:
    """The agent is gone; say so."""

    instance_id: str
    stage: Stage
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Undo:
    """Take away all that a spawn, which never finished, has made."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class EndAgent:
    """End the agent and its session: nobody wants it."""

    session_name: str


@dataclass(frozen=True, slots=True)
class EndActor:
    """End the actor: it has no agent to follow."""

    instance_id: str


Act = Adopt | NoteEnd | Undo | EndAgent | EndActor


def plan(
    records: Sequence[InstanceRecord],
    agents: Iterable[RunningAgent],
    actors: Collection[str],
    *,
    followed: Collection[str],
    busy: Collection[str],
) -> tuple[Act, ...]:
    """``actors``, ``followed`` and ``busy`` are instance ids."""
    sessions = {agent.session_name: agent for agent in agents}
    acts: list[Act] = []
    keeping: set[str] = set(busy)
    for record in records:
        if record.instance_id in busy:
            continue
        act = _for_record(record, sessions.get(record.session_name), record.instance_id in followed)
        if act is not None:
            acts.append(act)
        if isinstance(act, Adopt) or (act is None and record.instance_id in followed):
            keeping.add(record.instance_id)
    known = {record.session_name for record in records} | set(busy)
    acts.extend(EndAgent(name) for name in sessions if name not in known)
    undone = {act.instance_id for act in acts if isinstance(act, Undo)}
    acts.extend(EndActor(instance_id) for instance_id in sorted(set(actors) - keeping - undone))
    return tuple(acts)


def _for_record(record: InstanceRecord, session: RunningAgent | None, followed: bool) -> Act | None:
    alive = session is not None and session.alive
    if record.stage is Stage.STARTING:
        begun = alive and session is not None and session.pid == record.pid
        return _adopt(record, session) if begun and session is not None else Undo(record.instance_id)
    if alive and session is not None:
        return _for_living(record, session, followed)
    if record.stage is Stage.RUNNING and not followed:
        stage = Stage.FAILED if record.wanted else Stage.STOPPED
        return NoteEnd(record.instance_id, stage, ENDED_UNSEEN if record.wanted else "")
    return None


def _for_living(record: InstanceRecord, session: RunningAgent, followed: bool) -> Act | None:
    if not record.wanted:
        return EndAgent(session.session_name)
    same = (session.pane_id, session.pid) == (record.pane_id, record.pid)
    if record.stage is Stage.RUNNING and followed and same:
        return None
    return _adopt(record, session)


def _adopt(record: InstanceRecord, session: RunningAgent) -> Adopt:
    return Adopt(record.instance_id, session.pane_id, session.pid)
