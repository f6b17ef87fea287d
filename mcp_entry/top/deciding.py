"""Which key decides what: the safety of ``a``, ``d`` and the numbers. Pure; takes the clock.

A key decides only what is shown of the selected instance. It decides nothing while the request has stood there for less
than ``READ_S``, because it may be meant for what stood there before, nor when it came within ``PASTE_S`` of another
key, because then nobody pressed it: a terminal that does not mark pasted text gives it as keys. A call that is longer
than there is room for it is allowed only when its end was in view.
"""

from __future__ import annotations

from collections.abc import Callable

from mcp_entry.top.needs import Need
from supervisor.api.requests import RespondRequest

READ_S = 0.5
PASTE_S = 0.03


class NotDecidedError(Exception):
    """Nothing is decided; the text says why."""


class Decisions:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._need: Need | None = None
        self._shown_at = 0.0
        self._answers: dict[str, str] = {}
        self._under_way = False
        self._key_at = float("-inf")
        self._key_gap_s = float("inf")

    @property
    def need(self) -> Need | None:
        """What is shown."""
        return self._need

    @property
    def answers(self) -> dict[str, str]:
        """To the questions that are shown, those chosen so far, by their words."""
        return self._answers

    def show(self, need: Need | None) -> None:
        """``need`` is on the screen from now on."""
        if need is None or self._need is None or need.identity != self._need.identity:
            self._shown_at = self._clock()
            self._answers = {}
            self._under_way = False
        self._need = need

    def seen_anew(self) -> None:
        """Something else was on the screen in its place until now."""
        self._shown_at = self._clock()

    def key_came(self) -> None:
        """To be called for every key, before what it does."""
        now = self._clock()
        self._key_at, self._key_gap_s = now, now - self._key_at

    def allow(self, *, end_was_in_view: bool) -> RespondRequest:
        """``end_was_in_view``: of what is shown. Raises ``NotDecidedError``, as ``deny`` and ``choose``."""
        need = self._decidable()
        if need.questions:
            raise NotDecidedError("It asks a question: choose an option by its number, or d denies.")
        if not need.decidable:
            raise NotDecidedError(f"It asks for no permission. {need.next_step}".rstrip())
        if not end_was_in_view:
            raise NotDecidedError("Tab, then End, then a: a long call is allowed once its end was in view.")
        self._under_way = True
        return need.allowed()

    def deny(self) -> RespondRequest:
        need = self._decidable()
        if not need.decidable and not need.closable:
            raise NotDecidedError(f"It asks for no permission. {need.next_step}".rstrip())
        self._under_way = True
        return need.denied()

    def choose(self, number: int) -> RespondRequest | None:
        """None while another question is to be answered first."""
        need = self._decidable()
        open_questions = [each for each in need.questions if each.words not in self._answers]
        if not open_questions:
            raise NotDecidedError("It has no options to choose from.")
        question = open_questions[0]
        if number > len(question.options):
            raise NotDecidedError(f"It has {len(question.options)} options.")
        self._answers[question.words] = question.options[number - 1]
        if len(open_questions) > 1:
            self._shown_at = self._clock()  # the next question comes up
            return None
        self._under_way = True
        return need.answered(self._answers)

    def failed(self, request: RespondRequest) -> None:
        """The answer did not arrive: it may be given again."""
        if self._need is not None and request.instance_id == self._need.instance_id:
            self._under_way = False
            self._answers = {}

    def _decidable(self) -> Need:
        if self._need is None:
            raise NotDecidedError("The selected one needs no decision: n goes to the next that needs somebody.")
        if self._under_way:
            raise NotDecidedError("It is being answered.")
        if self._key_gap_s < PASTE_S:
            raise NotDecidedError("Keys came faster than anybody types, so nothing is decided: press it again.")
        if self._clock() - self._shown_at < READ_S:
            raise NotDecidedError("This came up just now, so nothing is decided: read it, then press the key again.")
        return self._need
