"""``Runtime``: brings a team up and down, and says how it is.

The command line and ``python -m supervisor.runtime`` use it. Every call blocks; it needs a thread without an event
loop. Promises: one bring-up or bring-down of a home at a time. ``up`` starts only what is missing, and when it fails it
undoes in reverse what it started. ``down`` ends every process that the team started and no other, whatever state it
finds. ``revive`` never brings back what ``down`` has begun to end. All is bounded in time.

The parts are a Ray head and a tmux server, both processes of ours, and the supervisor in Ray. While one of the first
two lives, the team goes on: ``up`` brings the rest back with the same mark and with the agents' environment of the
first ``up``. With both gone, for example after a reboot, the team is over. Then ``up`` begins a new one with the
records, worktrees and instances that the home keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from actors.errors import InvalidRequestError, SettingsError, TeamNotRunningError, UnavailableError
from actors.files import FileLock
from actors.home import Home, away_words, leader_of, team_leader_of
from actors.marks import UMASK_MARK
from actors.processes import is_running, own_umask
from supervisor.runtime.bring_up import BringUp, OnStep
from supervisor.runtime.environment import check_programs, stored_environment
from supervisor.runtime.parts import (
    EndedProcess,
    RuntimeParts,
    end_all,
    look,
    names_by_process,
    processes_of,
    refuse_from_inside,
    remove_files,
    shut_down,
)
from supervisor.settings import Settings, check_variables
from supervisor.team.file import TeamInfo, read_team, wanted_team, write_team

FACTORY = "supervisor.actor:create_supervisor"
SHUTDOWN_TIMEOUT_S = 90.0
LOCK_PATIENCE_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamAddress:
    """A running team."""

    home: Path
    team_id: str
    already_running: bool
    """True when nothing had to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamState:
    kind: Literal["running", "partly", "stopped"]
    missing: tuple[str, ...] = ()
    """Names, for people, of the parts that do not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownReport:
    was_running: bool
    """False when there was nothing to bring down."""
    ended: tuple[EndedProcess, ...] = ()
    notes: tuple[str, ...] = ()


def ignore_steps(step: str) -> None:
    """For callers that do not show steps."""


class Runtime:
    def __init__(self, home: Home, settings: Settings, factory: str = FACTORY) -> None:
        """``factory``: the "MODULE:FUNCTION" that makes the supervisor's actor."""
        self._home = home
        self._settings = settings
        self._factory = factory

    def up(self, environment: Mapping[str, str], on_step: OnStep = ignore_steps) -> TeamAddress:
        """Returns when the gateway answers; at once when it does already. Agents will run with ``environment``.

        Raises ``PhalanxError``; then everything that this call started is ended again.
        """
        check_variables(environment)
        self._home.create()
        self._refuse_to_lead_a_second()
        check_programs(environment)
        with only_one(self._home.lock_file, on_step):
            return self._up(environment, environment, on_step)

    def revive(self, environment: Mapping[str, str], on_step: OnStep = ignore_steps) -> TeamAddress | None:
        """As ``up``, for a team that was lost. Returns None and does nothing for one that was brought down.

        Ray and agents get their earlier environments; ``environment`` is used only if those are not known.
        """
        if wanted_team(self._home) is None:
            return None
        self._refuse_to_lead_a_second()
        self._home.create()
        with only_one(self._home.lock_file, on_step):
            team = wanted_team(self._home)
            if team is None:
                return None
            for_ray = team.environment or environment
            check_programs(for_ray)
            return self._up(for_ray, stored_environment(self._home) or environment, on_step)

    def down(self, on_step: OnStep = ignore_steps) -> DownReport:
        """Ends the team of this home, or what is left of it; does nothing when there is none.

        Raises ``InvalidRequestError`` when called from inside the team or on a host that is led from another one,
        ``UnavailableError`` when a process does not end or another up or down keeps the home.
        """
        if leader := team_leader_of(self._home):
            raise InvalidRequestError(
                f"The team of this host is led from {leader}: `phalanx down` there ends it. To take only this host out "
                "of the cluster, run scripts/host stop here."
            )
        return self.end_here(on_step)

    def end_here(self, on_step: OnStep = ignore_steps) -> DownReport:
        """As ``down``; for a team that is led from another host, ends what runs on this host."""
        if not self._home.lock_file.exists():
            return DownReport(was_running=False)
        with only_one(self._home.lock_file, on_step):
            team = read_team(self._home)
            if team is None:
                self._home.in_use_file.unlink(missing_ok=True)
                return DownReport(was_running=False)
            refuse_from_inside(team.team_id)
            with suppress(SettingsError):  # a full disk must not stop a team from going down
                write_team(self._home, replace(team, ending=True))
            return self._bring_down(team, on_step)

    def state(self) -> TeamState:
        """How the team is now. Takes no lock, so a team that is being brought up is partly there."""
        parts = look(self._home, read_team(self._home))
        if parts == RuntimeParts():
            return TeamState(kind="stopped")
        return TeamState(kind="partly" if parts.missing else "running", missing=parts.missing)

    def _refuse_to_lead_a_second(self) -> None:
        """Raises ``TeamNotRunningError``: a worker of a cluster has a team already, or will get it from its head."""
        leader = leader_of(self._home) if not self._settings.ray_address else team_leader_of(self._home)
        if leader:
            raise TeamNotRunningError(
                f"{away_words(leader)} This host brings up no team of its own while it belongs to that one; "
                "scripts/host stop here takes it out of the cluster."
            )

    def _up(self, for_ray: Mapping[str, str], for_agents: Mapping[str, str], on_step: OnStep) -> TeamAddress:
        """The caller holds the lock."""
        for_ray = {UMASK_MARK: own_umask(), **for_ray}
        team = read_team(self._home)
        parts = look(self._home, team)
        if team is not None and team.ending:  # a bring-down was cut short, so this supervisor may refuse every call
            parts = replace(parts, head=False)
        already_running = not parts.missing
        if team is None or not already_running:
            with ExitStack() as undo:
                bring_up = BringUp(self._home, self._settings, self._factory, for_ray, for_agents, on_step, undo)
                team = bring_up.run(team, parts)
                undo.pop_all()
        return TeamAddress(home=self._home.root, team_id=team.team_id, already_running=already_running)

    def _bring_down(self, team: TeamInfo, on_step: OnStep) -> DownReport:
        """Lists what runs first: a process that has lost its parents could not be found later."""
        before = names_by_process(processes_of(self._home, team))
        notes: tuple[str, ...] = ()
        if before and not team_leader_of(self._home):
            on_step("ending the agents")
            notes = shut_down(self._home, SHUTDOWN_TIMEOUT_S)
        on_step("ending Ray, the tmux server and what is left")
        end_all(self._home, team)
        on_step("removing temporary files")
        self._home.in_use_file.unlink(missing_ok=True)
        remove_files(self._home)
        ended = tuple(name for process, name in before.items() if not is_running(process))
        return DownReport(was_running=bool(before), ended=ended, notes=notes)


@contextmanager
def only_one(lock_file: Path, on_step: OnStep, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
    """Holds the lock of the home.

    Raises ``UnavailableError`` when another process keeps it for longer than ``patience_s``.
    """
    lock = FileLock(lock_file)
    try:
        if not lock.try_acquire():
            on_step("waiting for another phalanx up or down")
            if not lock.acquire(patience_s):
                raise UnavailableError(
                    f"Another phalanx up or down has been at work on {lock_file.parent} for {patience_s:.0f} s. "
                    "Wait for it or end it, then try again."
                )
    except OSError as error:
        raise SettingsError(f"{lock_file} cannot be written: {error.strerror}. Set PHALANX_HOME elsewhere.") from error
    try:
        yield
    finally:
        lock.release()
