"""``SupervisorClient``: how Python code, the MCP entry and the command line call a team. Imports no Ray.

One client is one connection, used from one event loop; its calls run side by side. A lost connection is opened again by
the next call. Every call is bounded in time. Errors are those of ``actors.errors``: what the supervisor refuses comes
as the error it raised; ``TeamNotRunningError`` when nobody answers; ``UnavailableError`` when the answer did not come,
so that the outcome is not known.

::

    async with await SupervisorClient.connect(home) as team:
        spawned = await team.spawn(SpawnRequest(role="specialist", work_dir="/srv/shop", context="Fix the build."))
        await team.wait(WaitRequest(instance_ids=[spawned.instance_id]))
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self, cast

from pydantic import ValidationError

from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError
from actors.home import Home
from supervisor import requests, results
from supervisor.frames import LOOKING, FrameError
from supervisor.line import Line
from supervisor.requests import Request
from supervisor.results import Result
from supervisor.verbs import VERBS, ProgressCallback, ShutdownRequest, StatusRequest, ignore_progress

CONNECT_PATIENCE_S = 3.0
"""How long a socket that nobody answers is tried again: the supervisor may just be starting anew."""
_RETRY_S = 0.05
_MARGIN_S = 30.0
_TIMEOUTS_S = {"spawn": 900.0, "terminate": 300.0, "restart": 300.0, "shutdown": 120.0, "interrupt": 60.0}
"""Verbs that start or end agents; spawns also wait for those before them."""
_SPAWN_EACH_S = 120.0


class SupervisorClient:
    def __init__(self, home: Home, sender: str) -> None:
        """Use ``connect``. ``sender`` stands in the header line of messages."""
        self._home = home
        self._sender = sender
        self._line: Line | None = None
        self._opening = asyncio.Lock()

    @classmethod
    async def connect(cls, home: Home, sender: str = "lead") -> Self:
        """A connected client. Raises ``TeamNotRunningError`` when no supervisor answers in ``home``."""
        client = cls(home, sender)
        await client._open_line()
        return client

    @property
    def closed(self) -> bool:
        """No connection is open now; the next call opens one."""
        return self._line is None or self._line.closed

    async def close(self) -> None:
        """Ends the connection. Calls under way raise ``UnavailableError``."""
        if self._line is not None:
            await self._line.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def spawn(
        self, request: requests.SpawnRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnResult:
        return cast("results.SpawnResult", await self.call("spawn", request, on_progress))

    async def spawn_batch(
        self, request: requests.SpawnBatchRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SpawnBatchResult:
        return cast("results.SpawnBatchResult", await self.call("spawn_batch", request, on_progress))

    async def send(
        self, request: requests.SendRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SendResult:
        return cast("results.SendResult", await self.call("send", request, on_progress))

    async def send_batch(
        self, request: requests.SendBatchRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.SendBatchResult:
        return cast("results.SendBatchResult", await self.call("send_batch", request, on_progress))

    async def read(
        self, request: requests.ReadRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.ReadResult:
        return cast("results.ReadResult", await self.call("read", request, on_progress))

    async def list(
        self, request: requests.ListRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.ListResult:
        return cast("results.ListResult", await self.call("list", request, on_progress))

    async def wait(
        self, request: requests.WaitRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.WaitResult:
        return cast("results.WaitResult", await self.call("wait", request, on_progress))

    async def respond(
        self, request: requests.RespondRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.RespondResult:
        return cast("results.RespondResult", await self.call("respond", request, on_progress))

    async def interrupt(
        self, request: requests.InterruptRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.InterruptResult:
        return cast("results.InterruptResult", await self.call("interrupt", request, on_progress))

    async def terminate(
        self, request: requests.TerminateRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.TerminateResult:
        return cast("results.TerminateResult", await self.call("terminate", request, on_progress))

    async def restart(
        self, request: requests.RestartRequest, on_progress: ProgressCallback = ignore_progress
    ) -> results.RestartResult:
        return cast("results.RestartResult", await self.call("restart", request, on_progress))

    async def status(self) -> results.StatusResult:
        """How the team itself is."""
        return cast("results.StatusResult", await self.call("status", StatusRequest()))

    async def shutdown(self) -> results.TerminateResult:
        """Ends every instance gently; the supervisor itself stays until the team is brought down."""
        return cast("results.TerminateResult", await self.call("shutdown", ShutdownRequest()))

    async def call(self, verb: str, request: Request, on_progress: ProgressCallback = ignore_progress) -> Result:
        """Runs one verb of ``VERBS``. ``on_progress`` is called in the event loop.

        Cancelling this cancels the call in the supervisor, which undoes what it had begun where the verb can.
        """
        line = await self._open_line()
        params = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        limit_s = timeout_s(verb, request)
        try:
            answer = await line.call(verb, params, on_progress, limit_s)
        except FrameError as error:
            raise InvalidRequestError(f"Nothing was done: {error}") from error
        except TimeoutError:
            raise UnavailableError(f"{verb} had no answer within {limit_s:.0f} s. {_advice(verb)}") from None
        except ConnectionError:
            raise UnavailableError(f"The connection to the team was lost during {verb}. {_advice(verb)}") from None
        return _result(verb, answer)

    async def _open_line(self) -> Line:
        async with self._opening:
            if self._line is None or self._line.closed:
                self._line = await self._connected()
            return self._line

    async def _connected(self) -> Line:
        socket = self._home.gateway_socket
        deadline = asyncio.get_running_loop().time() + CONNECT_PATIENCE_S
        while True:
            try:
                return await Line.open(socket, {"sender": self._sender, "version": version("phalanx")})
            except ConnectionRefusedError:
                if asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(_RETRY_S)
                    continue
            except FileNotFoundError:
                pass
            except OSError as error:
                raise TeamNotRunningError(
                    f"{socket} cannot be reached: {error or 'no answer'}. `phalanx doctor` helps."
                ) from error
            raise TeamNotRunningError(f"No team runs in {self._home.root}. Start one with `phalanx up`.")


def timeout_s(verb: str, request: Request) -> float:
    """How long the client waits for the answer."""
    if isinstance(request, requests.SpawnBatchRequest):
        return _TIMEOUTS_S["spawn"] + _SPAWN_EACH_S * len(request.instances)
    waits = isinstance(request, requests.WaitRequest) or getattr(request, "wait", False)
    return _TIMEOUTS_S.get(verb, _MARGIN_S) + (getattr(request, "timeout_seconds", 0.0) if waits else 0.0)


def _advice(verb: str) -> str:
    if verb in LOOKING:
        return "Make the call again."
    return "Whether it took effect is not known: look with list what became of it before you make the call again."


def _result(verb: str, answer: Any) -> Result:
    try:
        return VERBS[verb].result.model_validate(answer)
    except ValidationError as error:
        raise UnavailableError(
            f"{verb} was done, but the team runs another version of Phalanx, whose answer this one cannot read. "
            "`phalanx down` and `phalanx up` renew it."
        ) from error
