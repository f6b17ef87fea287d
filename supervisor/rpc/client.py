"""``SupervisorClient``: how Python code, the MCP entry and the command line call a team. Imports no Ray.

One client is one connection, used from one event loop; its calls run side by side. Every call is bounded in time. A
lost connection is opened again; a call that it took along is made again where that can do no harm: when it only looks,
and when it carries a request id, by which the supervisor knows it again (the client gives it one where the caller did
not). For a team that is only away the client waits; one that was brought down is told at once. Errors are those of
``actors.errors``: what the supervisor refuses comes as the error it raised; ``TeamNotRunningError`` when nobody
answers; ``UnavailableError`` when the answer did not come, so that the outcome is not known.

::

    async with await SupervisorClient.connect(home) as team:
        spawned = await team.spawn(SpawnRequest(role="specialist", work_dir="/srv/shop", context="Fix the build."))
        await team.wait(WaitRequest(instance_ids=[spawned.instance_id]))

The verbs are methods of the client, one for each line of the table ``supervisor.api.verbs.TeamVerbs``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from actors.backoff import Backoff
from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError, from_wire
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


CONNECT_PATIENCE_S = 4.0
"""How long a first connection waits for a supervisor that is just starting anew in a Ray that runs: it is back within
two seconds, or whoever was bringing it up has died."""
_AGAIN = Backoff(first_s=0.02, longest_s=0.5)
_RELAY_TRIES = 3
"""How often a call that was lost may be sent away by a relay, each time after 20 s, before it is given up."""


class SupervisorClient(TeamVerbs):
    def __init__(self, home: Home, sender: str) -> None:
        """Use ``connect``. ``sender`` stands in the header line of messages."""
        self._home = home
        self._sender = sender
        self._line: GatewayConnection | None = None
        self._opening = asyncio.Lock()
        self._closings = 0
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def connect(cls, home: Home, sender: str = "lead") -> Self:
        """A connected client. Raises ``TeamNotRunningError`` when no supervisor answers in ``home``."""
        client = cls(home, sender)
        await client.open()
        return client

    @property
    def _hello(self) -> Mapping[str, str | int]:
        """A working directory that was removed is none."""
        directory = ""
        with suppress(OSError):
            directory = str(Path.cwd())
        return {"sender": self._sender, "version": VERSION, "protocol": PROTOCOL, "directory": directory}

    @property
    def closed(self) -> bool:
        """No connection is open now; the next call opens one."""
        return self._line is None or self._line.closed

    @property
    def version_note(self) -> str:
        """For people: the team runs another version than this client. Known from the first answer on; empty if not."""
        if self._line is None or not self._line.has_answered or self._line.team_version == VERSION:
            return ""
        return f"The team runs {_named(self._line.team_version)}, and this is {VERSION}. {RENEW}"

    async def open(self) -> None:
        """Opens the connection again if it was lost, as ``connect`` does. Raises ``TeamNotRunningError``."""
        await self._open_line(None)

    async def until_lost(self) -> None:
        """Returns when the connection that is open now has ended; at once when none is."""
        if self._line is not None:
            await self._line.ended()

    async def close_when_idle(self) -> None:
        """Closes once the calls under way have ended; for their sake the connection may be opened again."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Ends the connection. Calls under way raise ``UnavailableError``."""
        self._closings += 1
        if self._line is not None:
            await self._line.close()

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

        Cancelling this cancels the call in the supervisor, which undoes what it had begun where the verb can. What has
        its default is not sent: an older team, which does not know it, need not.
        """
        arguments = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        return self._result(verb, await self._answer(verb, arguments, on_progress))

    async def call_json(
        self, verb: Verb[Any, Any], arguments: Mapping[str, Any], on_progress: ProgressCallback = ignore_progress
    ) -> dict[str, Any]:
        """``call`` for arguments that are JSON already. The supervisor checks them.

        The result is given as it came, unless another version made it: then as this version would have made it.
        """
        answer = await self._answer(verb, arguments, on_progress)
        if self._team_version != VERSION:
            answer = self._result(verb, answer).model_dump(mode="json", by_alias=True)
        return answer

    async def _answer(
        self, verb: Verb[Any, Any], arguments: Mapping[str, Any], on_progress: ProgressCallback
    ) -> dict[str, Any]:
        with self._counted():
            answer: dict[str, Any] = await self._call(RetryState(verb, arguments), on_progress)
            return answer

    def _result(self, verb: Verb[RequestT, ResultT], answer: Mapping[str, Any]) -> ResultT:
        try:
            return verb.result.model_validate(answer)
        except ValidationError as error:
            raise UnavailableError(
                f"{verb.name} was done, but the team runs {_named(self._team_version)}, whose answer this one "
                f"({VERSION}) cannot read. {RENEW}"
            ) from error

    async def spawn_instances_batch(
        self, instances: Sequence[requests.SpawnRequest], on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnBatchResult:
        """``spawn_batch`` of these; one that fails fails alone, so look at ``success`` of each."""
        return await self.spawn_batch(requests.SpawnBatchRequest(instances=list(instances)), on_progress)

    async def prewarm_instances(self, count: int, work_dir: str | None = None) -> results.PrewarmResult:
        """``count`` spare agents, for the directory given or the one last worked on."""
        return await self.prewarm_resources(requests.PrewarmRequest(instances=count, work_dir=work_dir))

    async def git_operation(self, operation: requests.GitOperation) -> results.GitOutcome:
        """One operation of ``git_batch``; those that are called side by side share one git as a batch does.

        Raises what it was refused with; the files of a merge that conflicts are in the error's text.
        """
        batch = await self.git_batch(requests.GitBatchRequest(operations=[operation]))
        (outcome,) = batch.results
        if outcome.error is not None:
            raise from_wire(outcome.error.model_dump())
        return outcome

    async def events(
        self, *kinds: requests.EventKind, poll_s: float = EVENT_POLL_S
    ) -> AsyncIterator[results.TeamEvent]:
        """What the team tells of itself from now on, as it happens; without ``kinds`` all of it.

        Goes on over lost connections for as long as the client reaches the team. Who does not read for long misses
        the oldest events.
        """
        cursor, wanted = None, {"kinds": list(kinds)} if kinds else {}
        while True:
            request = requests.EventsRequest(cursor=cursor, timeout_seconds=poll_s, **wanted)
            heard = await self.next_events(request)
            cursor = heard.cursor
            for event in heard.events:
                yield event

    @property
    def _team_version(self) -> str:
        return self._line.team_version if self._line is not None else ""

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _call(self, retry_state: RetryState, on_progress: ProgressCallback) -> Any:
        verb = retry_state.verb
        closings = self._closings
        sent_away = 0
        while True:
            line = await self._line_for(retry_state)
            begun = time.monotonic()
            try:
                return await line.call(verb, retry_state.params(), on_progress, retry_state.left_s)
            except FrameError as error:
                parse(verb.request, retry_state.params())  # which says more of it where the arguments are wrong
                raise InvalidRequestError(f"Nothing was done: {error}") from error
            except TimeoutError:
                raise UnavailableError(
                    f"{verb.name} had no answer within {retry_state.limit_s:.0f} s. {advice(verb)}"
                ) from None
            except TeamNotRunningError as error:  # of a relay whose supervisor is away: of this try nothing was done
                sent_away += 1
                if not retry_state.lost or sent_away >= _RELAY_TRIES:
                    raise (retry_state.lost_error() if retry_state.may_have_taken_effect else error) from None
                retry_state.was_sent_away(begun)
            except ConnectionError as error:
                retry_state.connection_lost(was_sent=not isinstance(error, RequestNotSentError))
                if closings != self._closings or not retry_state.may_be_repeated:
                    raise retry_state.lost_error() from None
                await asyncio.sleep(_AGAIN.first_s)

    async def _line_for(self, retry_state: RetryState) -> GatewayConnection:
        """Raises ``TeamNotRunningError``, or ``UnavailableError`` when something of the call has been sent before."""
        with retry_state.waiting_for_the_team():
            try:
                return await self._open_line(retry_state.patience_s if retry_state.lost else None)
            except TeamNotRunningError as error:
                if retry_state.may_have_taken_effect:
                    raise retry_state.lost_error() from error
                raise

    async def _open_line(self, return_patience_s: float | None) -> GatewayConnection:
        """``return_patience_s``: how long a team that was lost is waited for; None for a first connection."""
        if self._line is not None and not self._line.closed:
            return self._line
        patience_s = CONNECT_PATIENCE_S if return_patience_s is None else return_patience_s
        try:
            async with asyncio.timeout(patience_s), self._opening:
                if self._line is None or self._line.closed:
                    self._line = await self._connected(returning=return_patience_s is not None)
                return self._line
        except TimeoutError:
            leader = leader_of(self._home)
            raise TeamNotRunningError(
                away_words(leader)
                if leader
                else f"The team in {self._home.root} did not answer within {patience_s:.0f} s. `phalanx up` brings "
                "back what is missing."
            ) from None

    async def _connected(self, *, returning: bool) -> GatewayConnection:
        socket = self._home.gateway_socket
        failures = 0
        while True:
            try:
                return await GatewayConnection.open(socket, self._hello)
            except (ConnectionRefusedError, FileNotFoundError):
                self._check_is_wanted(returning=returning)
            except OSError as error:
                if not returning:
                    raise TeamNotRunningError(
                        f"{socket} cannot be reached: {error or 'no answer'}. `phalanx doctor` helps."
                    ) from error
            failures += 1
            await asyncio.sleep(_AGAIN.pause_s(failures))

    def _check_is_wanted(self, *, returning: bool) -> None:
        """Raises ``TeamNotRunningError`` when waiting is in vain. The relay of a team that is led from another host may
        just be starting anew, or be the first thing that is made here."""
        if leader_of(self._home):
            return
        team = wanted_team(self._home)
        if team is None:
            raise TeamNotRunningError(f"No team runs in {self._home.root}. Start one with `phalanx up`.")
        if not returning and not head_runs(team):
            raise TeamNotRunningError(f"The team in {self._home.root} was lost. `phalanx up` brings it back.")


def _named(team_version: str) -> str:
    return f"Phalanx {team_version}" if team_version not in ("", VERSION) else "another version of Phalanx"
