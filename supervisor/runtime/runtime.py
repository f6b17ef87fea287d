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

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace

from actors.errors import InvalidRequestError, SettingsError, TeamNotRunningError
from actors.home import Home, away_words, leader_of, team_leader_of
from actors.marks import TEAM_MARK, UMASK_MARK
from actors.processes import is_running, own_umask, processes_with
from supervisor.runtime.bring_up import BringUp, stored_environment
from supervisor.runtime.environment import Environments, check_programs, only_one
from supervisor.runtime.model import DownReport, OnStep, Stopwatch, TeamAddress, TeamState, ignore_steps
from supervisor.runtime.parts import NONE, look, shut_down
from supervisor.runtime.tear_down import end_all, names_by_process, refuse_from_inside, remove_files
from supervisor.settings import Settings, check_variables
from supervisor.team.file import TeamInfo, read_team, wanted_team, write_team

FACTORY = "supervisor.actor:create_supervisor"
SHUTDOWN_TIMEOUT_S = 90.0


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
            return self._up(Environments(ray=environment, agents=environment), Stopwatch(on_step))

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
            before = Environments(
                ray=team.environment or environment, agents=stored_environment(self._home) or environment
            )
            check_programs(before.ray)
            return self._up(before, Stopwatch(on_step))

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
                return DownReport(was_running=False)
            refuse_from_inside(team.team_id)
            with suppress(SettingsError):  # a full disk must not stop a team from going down
                write_team(self._home, replace(team, ending=True))
            return self._bring_down(team, Stopwatch(on_step))

    def state(self) -> TeamState:
        """How the team is now. Takes no lock, so a team that is being brought up is partly there."""
        parts = look(self._home, read_team(self._home))
        if parts == NONE:
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

    def _up(self, given: Environments, watch: Stopwatch) -> TeamAddress:
        """The caller holds the lock."""
        given = replace(given, ray={UMASK_MARK: own_umask(), **given.ray})
        team = read_team(self._home)
        parts = look(self._home, team)
        if team is not None and team.ending:  # a bring-down was cut short, so this supervisor may refuse every call
            parts = replace(parts, head=False)
        already_running = not parts.missing
        if team is None or not already_running:
            with ExitStack() as undo:
                team = BringUp(self._home, self._settings, self._factory, watch, undo).run(team, parts, given)
                undo.pop_all()
        return TeamAddress(
            home=self._home.root,
            gateway_socket=self._home.gateway_socket,
            ray_address=team.ray_address,
            team_id=team.team_id,
            already_running=already_running,
            steps=watch.steps,
        )

    def _bring_down(self, team: TeamInfo, watch: Stopwatch) -> DownReport:
        """Lists what runs first: a process that has lost its parents could not be found later."""
        before = names_by_process(processes_with(TEAM_MARK, team.team_id))
        notes: tuple[str, ...] = ()
        if before and not team_leader_of(self._home):
            with watch.step("ending the agents"):
                notes = shut_down(self._home, SHUTDOWN_TIMEOUT_S)
        with watch.step("ending Ray, the tmux server and what is left"):
            end_all(self._home, team)
        with watch.step("removing temporary files"):
            remove_files(self._home)
        ended = tuple(name for process, name in before.items() if not is_running(process))
        return DownReport(was_running=bool(before), ended=ended, notes=notes, steps=watch.steps)
