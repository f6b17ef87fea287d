"""What the writes of a ``git_batch`` have come to, so that a repeated call does none of them twice.

Before the first write of a call is begun it is stored, under the call's request id, that they are; afterwards, what
became of them. A repeated call gets that. Of one that the supervisor did not outlive it is not known what was done, and
nothing is done again. Reads may be made anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from actors.concurrency import Background
from actors.errors import UnavailableError
from actors.git.values import Outcome
from supervisor.git.answers import Answer
from supervisor.requests import GitBatchRequest
from supervisor.results import GitBatchResult
from supervisor.serving.repeats import fingerprint
from supervisor.team.roll import Roll

_LOST = (
    "The same call was begun before and cut off: whether this was done is not known. Look with status, log or branch; "
    "if it is still to be done, ask again with a new requestId."
)


class Deeds:
    """All in the supervisor's event loop."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll
        self._storing = Background("store what git has done")

    async def end(self) -> None:
        await self._storing.done()

    async def once(self, request: GitBatchRequest, work: Callable[[], Awaitable[GitBatchResult]]) -> GitBatchResult:
        """Runs ``work``, or waits for the same call that is under way already."""
        return await self._roll.repeats.once(request, request.request_id, work)

    async def begin(self, request: GitBatchRequest, writes: Sequence[int]) -> Mapping[int, Answer]:
        """The answers of the operations ``writes`` of a repeated call; nothing of a new one, which is stored then.

        Raises ``StoreError``, and ``InvalidRequestError`` when the id was used for something else.
        """
        if request.request_id is None or not writes:
            return {}
        repeats, content = self._roll.repeats, fingerprint(request)
        earlier = repeats.outcomes(request.request_id, content)
        if earlier is None:
            begun = repeats.note(request.request_id, content, [])
            await self._roll.save_noted(begun)
            repeats.keep(begun)
            return {}
        known = {number: Outcome(result=result, error=error) for number, result, error in earlier}
        return {number: _answer(known.get(number) or Outcome.refused(UnavailableError(_LOST))) for number in writes}

    def done(self, request: GitBatchRequest, answers: Mapping[int, Answer]) -> None:
        """It is stored beside: whoever gets the answer does not make the call again."""
        if request.request_id is None or not answers:
            return
        outcomes = [[number, answer.outcome.result, answer.outcome.error] for number, answer in answers.items()]
        noted = self._roll.repeats.note(request.request_id, fingerprint(request), outcomes)
        self._roll.repeats.keep(noted)
        self._storing.begin(self._roll.save_noted(noted))


def _answer(outcome: Outcome) -> Answer:
    return Answer(outcome=outcome, result=outcome.result)
