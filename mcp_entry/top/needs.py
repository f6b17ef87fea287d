"""What an instance needs of a person, in words and as the request that answers it. Pure.

A ``Need`` is what was shown. Its answers name it: a request by its ``permissionId``, a dialog by its question. So an
answer never goes to another one that has come up meanwhile: the team refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.status import Status
from supervisor.api.requests import RespondRequest
from supervisor.api.results import InstanceInfo, Permission, called

QUESTION_TOOL = "AskUserQuestion"
MOST_OPTIONS = 9
"""One key chooses among so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    words: str
    options: Sequence[str]
    descriptions: Sequence[str] = ()
    several: bool = False
    """More than one option may be chosen, at its terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """``permission_id`` is set for a request and a question of the agent, not for a dialog or a mere reason."""

    instance_id: str
    who: str
    """The instance as people know it."""
    title: str
    permission_id: str = ""
    parts: Sequence[tuple[str, str]] = ()
    """The exact input: the name of each argument, and its value as text."""
    questions: Sequence[Question] = ()
    decidable: bool = False
    """It takes allow or deny."""
    closable: bool = False
    """It takes deny alone, which closes it."""
    reason: str = ""
    next_step: str = ""
    """What helps where no answer does, as a sentence."""

    @property
    def identity(self) -> object:
        """Differs for another request, also of the same instance; its ``reason`` may change meanwhile."""
        return (self.instance_id, self.permission_id, self.title, self.parts, self.questions)

    def allowed(self) -> RespondRequest:
        return RespondRequest(instance_id=self.instance_id, decision="allow", permission_id=self.permission_id)

    def denied(self) -> RespondRequest:
        return RespondRequest(
            instance_id=self.instance_id,
            decision="deny",
            permission_id=self.permission_id or None,
            question=self._dialog_question,
        )

    def answered(self, answers: Mapping[str, str]) -> RespondRequest:
        """``answers``: by the words of each question, the words of the option."""
        if self.permission_id:
            return RespondRequest(
                instance_id=self.instance_id,
                decision="allow",
                answers=dict(answers),
                permission_id=self.permission_id,
            )
        (words,) = answers.values()
        return RespondRequest(instance_id=self.instance_id, option=words, question=self._dialog_question)

    @property
    def _dialog_question(self) -> str | None:
        """By which an answer names the dialog; None when it names a request, or there is nothing to answer."""
        return None if self.permission_id or not self.questions else self.questions[0].words


def need_of(each: InstanceInfo, *, needs_attention: bool) -> Need | None:
    """What it waits for; None when it needs nobody."""
    if each.permission is not None:
        return _request(each, each.permission)
    if each.dialog is not None:
        question = Question(words=each.dialog.question, options=each.dialog.options)
        return Need(
            instance_id=each.instance_id,
            who=_who(each),
            title="has a dialog at its terminal",
            questions=[question],
            closable=True,
            reason=each.reason or "",
        )
    if not needs_attention and not each.held_messages:
        return None
    return Need(
        instance_id=each.instance_id,
        who=_who(each),
        title=_title(each),
        reason=each.reason or "",
        next_step=next_step(each),
    )


def next_step(each: InstanceInfo) -> str:
    """What a person does about one that runs no more, or waits at its terminal; else empty."""
    match each.status:
        case Status.FAILED | Status.STOPPED:
            return f"`phalanx restart {command_name(each)}` starts it again."
        case Status.WAITING_INPUT:
            return "Enter goes into its terminal."
        case _:
            return ""


def command_name(each: InstanceInfo) -> str:
    """By which commands know it."""
    return each.name or each.instance_id


def _request(each: InstanceInfo, asked: Permission) -> Need:
    questions = _questions(asked.input) if asked.tool == QUESTION_TOOL else []
    return Need(
        instance_id=each.instance_id,
        who=_who(each),
        title="asks you" if questions else f"asks to use {asked.tool}",
        permission_id=asked.permission_id,
        parts=[] if questions else [(name, _value(value)) for name, value in asked.input.items()],
        questions=questions,
        decidable=True,
        reason=each.reason or "",
    )


def _who(each: InstanceInfo) -> str:
    return called(each.instance_id, each.name)


def _title(each: InstanceInfo) -> str:
    match each.status:
        case Status.FAILED:
            return "has failed"
        case Status.STOPPED:
            return "is stopped, and messages wait for it"
        case Status.RATE_LIMITED:
            return "has reached a limit of its account"
        case Status.WAITING_INPUT:
            return "waits for a person at its terminal"
        case _ if each.held_messages:
            messages = "a message" if each.held_messages == 1 else f"{each.held_messages} messages"
            return f"has {messages} held back"
        case _:
            return "needs somebody"


def _questions(asked: Mapping[str, Any]) -> list[Question]:
    """Of the tool by which Claude Code asks; none when its input has another form."""
    given = asked.get("questions")
    questions = [_question(each) for each in given] if isinstance(given, list) else []
    known = [each for each in questions if each is not None]
    return known if len(known) == len(questions) else []


def _question(given: object) -> Question | None:
    if not isinstance(given, dict) or not isinstance(given.get("question"), str):
        return None
    options = given.get("options")
    named = (
        [each for each in options if isinstance(each, dict) and isinstance(each.get("label"), str)] if options else []
    )
    if not named:
        return None
    return Question(
        words=given["question"],
        options=[each["label"] for each in named],
        descriptions=[str(each.get("description") or "") for each in named],
        several=given.get("multiSelect") is True,
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
