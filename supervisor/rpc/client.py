"""``SupervisorClient``: how Python code, the MCP entry and the command line call a team. Imports no Ray.

One client is one connection, used from one event loop; its calls run side by side. Every call is bounded in time. A
lost connection is opened again. A call that it took along is repeated if that does no harm: when it is read-only or has
a request id, by which the supervisor recognises it (the client adds one where the caller gave none). The client waits
for a team that is only away; for one that was brought down it raises at once. Errors are those of ``actors.errors``:
the error that the supervisor raised; ``TeamNotRunningError`` when no supervisor answers; ``UnavailableError`` when the
answer did not come, so that the outcome is not known.

::

    async with await SupervisorClient.connect(home) as team:
        spawned = await team.spawn(SpawnRequest(role="specialist", work_dir="/srv/shop", context="Fix the build."))
        await team.wait(WaitRequest(instance_ids=[spawned.instance_id]))

The verbs are methods of the client, one for each line of the table ``supervisor.api.verbs.TeamVerbs``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from actors.backoff import Backoff
from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError, from_wire
from actors.files import FileLock
from actors.home import Home, away_words, leader_of
from actors.sockets import FrameError
from actors.versions import PROTOCOL, RENEW
from supervisor.api import requests, results
from supervisor.api.validation import parse
from supervisor.api.verbs import ProgressCallback, RequestT, ResultT, TeamVerbs, Verb, ignore_progress
from supervisor.rpc.connection import GatewayConnection, RequestNotSentError, RetryState, advice
from supervisor.team.file import head_runs, wanted_team
from supervisor.versions import VERSION

EVENT_POLL_S = 60.0
_AT_ONCE_S = 0.001
CONNECT_PATIENCE_S = 4.0
"""How long a first connection waits for a supervisor that restarts in a running Ray. It is back within two seconds, or
the process that was bringing it up has died."""
_RETRY = Backoff(first_s=0.02, longest_s=0.5)
_RELAY_TRIES = 3
"""How often a relay, each time after 20 s, may refuse a lost call before it is given up."""


class SupervisorClient(TeamVerbs):
    def __init__(self, home: Home, sender: str) -> None:
        """Connects to nothing yet: ``connect`` gives a connected one. The header line of messages shows ``sender``."""
        self._home = home
        self._sender = sender
        self._connection: GatewayConnection | None = None
        self._opening = asyncio.Lock()
        self._opened = asyncio.Event()
        """Replaced at each opening."""
        self._closings = 0

    @classmethod
    async def connect(cls, home: Home, sender: str = "lead") -> Self:
        """A connected client. Raises ``TeamNotRunningError`` when no supervisor answers in ``home``."""
        client = cls(home, sender)
        await client.open()
        return client

    @property
    def _hello(self) -> Mapping[str, str | int]:
        directory = ""
        with suppress(OSError):  # it was removed
            directory = str(Path.cwd())
        return {"sender": self._sender, "version": VERSION, "protocol": PROTOCOL, "directory": directory}

    @property
    def closed(self) -> bool:
        """Whether no connection is open; the next call opens one."""
        return self._connection is None or self._connection.closed

    @property
    def version_note(self) -> str:
        """For people, when the team runs another version than this client; else empty. Known after the first answer."""
        if self._connection is None or not self._connection.has_answered or self._connection.team_version == VERSION:
            return ""
        return f"The team runs {_version_name(self._connection.team_version)}, and this is {VERSION}. {RENEW}"

    async def open(self) -> None:
        """Opens the connection if none is open. Raises ``TeamNotRunningError``."""
        await self._open_connection(None)

    async def until_lost(self) -> None:
        """Returns when the open connection has ended; at once when none is open."""
        if self._connection is not None:
            await self._connection.ended()

    async def until_connected(self) -> None:
        """Returns when a connection is open; it opens none itself."""
        if self.closed:
            await self._opened.wait()

    async def close(self) -> None:
        """Ends the connection. Calls under way raise ``UnavailableError``."""
        self._closings += 1
        if self._connection is not None:
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self, verb: Verb[RequestT, ResultT], request: RequestT, on_progress: ProgressCallback = ignore_progress
    ) -> ResultT:
        """Runs one verb; ``team.send(request)`` is short for ``team.call(TeamVerbs.send, request)``.

        Cancelling this cancels the call in the supervisor, which undoes what it can. Defaults are not sent, because an
        older team may not know the argument.
        """
        arguments = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        return self._result(verb, await self._answer(verb, arguments, on_progress))

    async def call_json(
        self,
        verb: Verb[Any, Any],
        arguments: Mapping[str, Any],
        on_progress: ProgressCallback = ignore_progress,
        token: str | None = None,
    ) -> dict[str, Any]:
        """``call`` for arguments that are JSON already; the supervisor checks them.

        ``token``: of the instance in whose name the call is made; it may do what its role may. None: the user's call.
        The result is unchanged, unless a team of another version made it: then it is brought into this version's form.
        """
        answer = await self._answer(verb, arguments, on_progress, token)
        if self._team_version != VERSION:
            answer = self._result(verb, answer).model_dump(mode="json", by_alias=True)
        return answer

    async def _answer(
        self,
        verb: Verb[Any, Any],
        arguments: Mapping[str, Any],
        on_progress: ProgressCallback,
        token: str | None = None,
    ) -> dict[str, Any]:
        answer: dict[str, Any] = await self._call(RetryState(verb, arguments), on_progress, token)
        return answer

    def _result(self, verb: Verb[RequestT, ResultT], answer: Mapping[str, Any]) -> ResultT:
        try:
            return verb.result.model_validate(answer)
        except ValidationError as error:
            raise UnavailableError(
                f"{verb.name} was done, but the team runs {_version_name(self._team_version)}, whose answer this one "
                f"({VERSION}) cannot read. {RENEW}"
            ) from error

    async def spawn_instances_batch(
        self, instances: Sequence[requests.SpawnRequest], on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnBatchResult:
        """``spawn_batch`` of these. A failing member fails alone, so look at ``success`` of each."""
        return await self.spawn_batch(requests.SpawnBatchRequest(instances=list(instances)), on_progress)

    async def prewarm_instances(self, count: int, work_dir: str | None = None) -> results.PrewarmResult:
        """Orders ``count`` spare agents, for ``work_dir`` or the directory that was last worked on."""
        return await self.prewarm_resources(requests.PrewarmRequest(instances=count, work_dir=work_dir))

    async def git_operation(self, operation: requests.GitOperation) -> results.GitOutcome:
        """One operation of ``git_batch``. Operations that run side by side share one git, as in a batch.

        Raises its error; for a merge that conflicts, the text names the files.
        """
        batch = await self.git_batch(requests.GitBatchRequest(operations=[operation]))
        (outcome,) = batch.results
        if outcome.error is not None:
            raise from_wire(outcome.error.model_dump())
        return outcome

    async def events(
        self,
        *kinds: requests.EventKind,
        instance_ids: Sequence[str] | None = None,
        cursor: str | None = None,
        poll_s: float = EVENT_POLL_S,
    ) -> AsyncIterator[results.TeamEvent]:
        """The team's events as they happen, of these kinds, or of all that are kept; of these instances, or of all.

        ``cursor``: the number of the last event that was heard, as text; without it those from now on. Goes on over
        lost connections and restarts of the supervisor, each event once, while the client can reach the team. Who comes
        with an old cursor has missed the events that are not kept any more: their numbers are left out.
        """
        asked: dict[str, Any] = {} if instance_ids is None else {"instance_ids": list(instance_ids)}
        if kinds:
            asked["kinds"] = list(kinds)
        # The first ask only learns the cursor of now: a long one that is repeated would begin at a later now.
        wait_s = _AT_ONCE_S if cursor is None else poll_s
        while True:
            answer = await self.next_events(requests.EventsRequest(cursor=cursor, timeout_seconds=wait_s, **asked))
            cursor, wait_s = answer.cursor, poll_s
            for event in answer.events:
                yield event

    @property
    def _team_version(self) -> str:
        return self._connection.team_version if self._connection is not None else ""

    async def _call(self, retry_state: RetryState, on_progress: ProgressCallback, token: str | None) -> Any:
        verb = retry_state.verb
        closings = self._closings
        relay_losses = 0
        while True:
            connection = await self._connection_for(retry_state)
            begun = time.monotonic()
            try:
                return await connection.call(verb, retry_state.params(), on_progress, retry_state.left_s, token)
            except FrameError as error:
                parse(verb.request, retry_state.params())  # its error says more when the arguments are wrong
                raise InvalidRequestError(f"Nothing was done: {error}") from error
            except TimeoutError:
                raise UnavailableError(
                    f"{verb.name} had no answer within {retry_state.limit_s:.0f} s. {advice(verb)}"
                ) from None
            except TeamNotRunningError as error:  # from a relay whose supervisor is away: this try has done nothing
                relay_losses += 1
                if not retry_state.lost or relay_losses >= _RELAY_TRIES:
                    raise (retry_state.lost_error() if retry_state.may_have_taken_effect else error) from None
                retry_state.add_away_time(begun)
            except ConnectionError as error:
                retry_state.connection_lost(was_sent=not isinstance(error, RequestNotSentError))
                if closings != self._closings or not retry_state.may_be_repeated:
                    raise retry_state.lost_error() from None
                on_progress(0, 0, "the connection was lost; waiting for the team to be back")
                await asyncio.sleep(_RETRY.first_s)

    async def _connection_for(self, retry_state: RetryState) -> GatewayConnection:
        """Raises ``TeamNotRunningError``, or ``UnavailableError`` when the call was sent before."""
        with retry_state.waiting_for_the_team():
            try:
                return await self._open_connection(retry_state.patience_s if retry_state.lost else None)
            except TeamNotRunningError as error:
                if retry_state.may_have_taken_effect:
                    raise retry_state.lost_error() from error
                raise

    async def _open_connection(self, return_patience_s: float | None) -> GatewayConnection:
        """``return_patience_s``: how long to wait for a team that was lost; None for a first connection."""
        returning = return_patience_s is not None
        patience_s = CONNECT_PATIENCE_S if return_patience_s is None else return_patience_s
        failures = 0
        try:
            async with asyncio.timeout(patience_s):
                while (connection := await self._try_to_connect(returning=returning)) is None:
                    failures += 1
                    await asyncio.sleep(_RETRY.pause_s(failures))
                return connection
        except TimeoutError:
            raise TeamNotRunningError(self._away_words(patience_s)) from None

    def _away_words(self, waited_s: float) -> str:
        if leader := leader_of(self._home):
            return away_words(leader)
        if self._is_being_brought_up():
            return f"The team in {self._home.root} is just being brought up: wait until that is done, then try again."
        return (
            f"The team in {self._home.root} did not answer within {waited_s:.0f} s. `phalanx up` brings back what is "
            "missing."
        )

    def _is_being_brought_up(self) -> bool:
        """For a team that is wanted: whoever brings one up or down keeps the home locked."""
        lock = FileLock(self._home.lock_file)
        try:
            return not lock.try_acquire()
        except OSError:
            return False
        finally:
            lock.release()

    async def _try_to_connect(self, *, returning: bool) -> GatewayConnection | None:
        """The open connection, or a new one; None while the supervisor is away. Raises ``TeamNotRunningError`` when
        waiting is useless. Others that wait try in turn: one may wait for a team that another will bring up."""
        async with self._opening:
            if self._connection is not None and not self._connection.closed:
                return self._connection
            socket = self._home.gateway_socket
            try:
                self._connection = await GatewayConnection.open(socket, self._hello)
            except (ConnectionRefusedError, FileNotFoundError):
                self._check_is_wanted(returning=returning)
                return None
            except OSError as error:
                if returning:
                    return None
                raise TeamNotRunningError(
                    f"{socket} cannot be reached: {error or 'no answer'}. `phalanx doctor` helps."
                ) from error
            self._opened.set()
            self._opened = asyncio.Event()
            return self._connection

    def _check_is_wanted(self, *, returning: bool) -> None:
        """Raises ``TeamNotRunningError`` when waiting is useless. It is not when another host leads: the relay may be
        restarting, or be the first process to start here."""
        if leader_of(self._home):
            return
        team = wanted_team(self._home)
        if team is None:
            raise TeamNotRunningError(f"No team runs in {self._home.root}. Start one with `phalanx up`.")
        if not returning and not head_runs(team) and not self._is_being_brought_up():
            raise TeamNotRunningError(f"The team in {self._home.root} was lost. `phalanx up` brings it back.")


def _version_name(team_version: str) -> str:
    return f"Phalanx {team_version}" if team_version not in ("", VERSION) else "another version of Phalanx"
