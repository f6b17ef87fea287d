"""Where scenarios play: one team of the Claude Code that is to be tried, in a home and a HOME of its own, with the
stand-in of the API. ``Member`` is one instance with what its lead and its people do to it, and the accounts that every
scenario has to settle: nothing lost, nothing doubled, nothing submitted for a person.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from actors.errors import PhalanxError
from actors.home import Home
from actors.marks import INSTANCE_MARK
from actors.messages import MessageStatus
from actors.processes import processes_with
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.requests import Role, SpawnRequest
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from tests.chaos.guard import guarded
from tests.chaos.survey import RUN_MARK
from tests.conversations import Conversations
from tests.people import POLL_S, People, Person, patient, rows
from tests.projects import git, make_repository, shell_environment
from tests.scenarios.scenario import expect
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

PATIENCE_S = 30.0
"""Generous: it tells coming from not coming and measures nothing."""
WORDS_WITHIN_S = 10.0
"""How soon an instance that cannot go on has to say so."""
_ARRIVES_S = 25.0
"""How long a message may take once nothing is in its way."""
_START_S = 60.0
_VERSION_S = 30.0
DRAFT_WORDS = ("draft", "typed", "typing", "stands in")
"""One of these says that something stands in the input box."""
_HELD_FOR_S = 4.0
"""How long something in the way is left there, so that whoever would run over it does so."""


@dataclass(slots=True)
class Member:
    """One instance. ``sent``: what was accepted for it, by message id."""

    stage: Stage
    instance_id: str
    session_name: str
    directory: Path
    """Where it works."""
    user_home: Path
    sent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """What a receipt says will never arrive, by message id."""
    drafts: list[str] = field(default_factory=list)
    """Words that a person typed and did not send."""
    people: list[Person] = field(default_factory=list)

    @property
    def conversations(self) -> Conversations:
        return Conversations(self.user_home, self.directory)

    async def info(self) -> results.InstanceInfo:
        listed = await self.stage.client.list(requests.ListRequest(include_stopped=True))
        return next(each for each in listed.instances if each.instance_id == self.instance_id)

    async def send(self, text: str, *, wait_s: float = 0.0) -> results.SendResult:
        """Gives it a message; with ``wait_s`` waits so long for what becomes of it."""
        sent = await self.stage.client.send(
            requests.SendRequest(
                instance_id=self.instance_id,
                message=text,
                immediate=True,
                wait=bool(wait_s),
                timeout_seconds=wait_s or PATIENCE_S,
            )
        )
        if sent.message_id:
            (self.failed if sent.status is MessageStatus.FAILED else self.sent)[sent.message_id] = text
        return sent

    async def takes(self, text: str, within_s: float = _ARRIVES_S) -> None:
        """It is given a message, and has it in its conversation within the time; the receipt says so."""
        sent = await self.send(text, wait_s=within_s)
        await self.holds(sent, within_s)
        expect(
            sent.status in {MessageStatus.SUBMITTED, MessageStatus.BLOCKED, MessageStatus.ACCEPTED},
            f"the message {text[:60]!r} arrived, but its receipt is {sent.status}: {sent.reason}",
        )

    async def holds(self, sent: results.SendResult, within_s: float = _ARRIVES_S) -> None:
        """The message stands in its conversation within the time."""
        message_id = sent.message_id
        expect(message_id, f"the message was refused: {sent.error}")
        assert message_id is not None
        deadline = time.monotonic() + patient(within_s)
        while not self.conversations.times()[message_id]:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"the message {self.sent[message_id][:60]!r} is in no conversation after {within_s:.0f} s (its "
                    f"receipt then: {sent.status}, {sent.reason}); {await self.describes()}"
                )
            await asyncio.sleep(POLL_S)

    async def until(
        self, condition: Callable[[results.InstanceInfo], object], what: str, within_s: float = PATIENCE_S
    ) -> results.InstanceInfo:
        """What ``list`` shows of it once the condition holds."""
        deadline = time.monotonic() + patient(within_s)
        while True:
            info = await self.info()
            if condition(info):
                return info
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} within {within_s:.0f} s; {await self.describes()}")
            await asyncio.sleep(POLL_S)

    async def rests(self, within_s: float = PATIENCE_S) -> results.InstanceInfo:
        return await self.until(lambda info: info.status is Status.READY, "ready", within_s)

    async def works(self, within_s: float = PATIENCE_S) -> results.InstanceInfo:
        return await self.until(lambda info: info.status is Status.BUSY, "busy", within_s)

    async def asks(self, tool: str, within_s: float = WORDS_WITHIN_S) -> results.Permission:
        """The permission request for this tool that it shows within the time."""
        info = await self.until(
            lambda info: info.permission is not None and info.permission.tool == tool,
            f"shown as asking to use {tool}",
            within_s,
        )
        assert info.permission is not None
        return info.permission

    async def says(self, *words: str, within_s: float = WORDS_WITHIN_S) -> results.InstanceInfo:
        """``list`` shows that it needs attention, for a reason that has one of the words in it."""
        wanted = [each.lower() for each in words]
        return await self.until(
            lambda info: info.needs_attention and any(each in (info.reason or "").lower() for each in wanted),
            f"needing attention for a reason that mentions {' or '.join(words)}",
            within_s,
        )

    async def holds_or_says(self, sent: results.SendResult, *words: str) -> bool:
        """The message arrives, or ``list`` says with one of the words what is in its way. Whether it arrived."""
        wanted = [each.lower() for each in words or ("",)]
        began = time.monotonic()
        while not self.conversations.times()[str(sent.message_id)]:
            info, waited_s = await self.info(), time.monotonic() - began
            reason = (info.reason or "").lower()
            if waited_s > _HELD_FOR_S and info.needs_attention and any(each in reason for each in wanted) and reason:
                return False
            if waited_s > _HELD_FOR_S + patient(WORDS_WITHIN_S):
                what = f"a reason that mentions {' or '.join(words)}" if words else "a reason"
                raise AssertionError(
                    f"a message does not arrive, and the list needs no attention for {what}; {await self.describes()}"
                )
            await asyncio.sleep(POLL_S)
        return True

    async def describes(self) -> str:
        """How it is, for a reader of a failure."""
        info = await self.info()
        attention = "needs attention" if info.needs_attention else "needs no attention"
        asked = f", asks for {info.permission.tool}" if info.permission else ""
        queued = f", {info.queued_messages} messages queued" if info.queued_messages else ""
        of_claude = ", ".join(f"{pid}: {status}" for pid, status in self.own_statuses().items())
        return (
            f"list says {info.status} ({info.reason or 'no reason'}), {attention}{asked}{queued}; "
            f"Claude Code itself says {of_claude or 'nothing'}; its screen:\n{rows(await self.screen())}"
        )

    def own_statuses(self) -> dict[str, str]:
        """What each Claude Code that works in its directory notes of itself, by process id."""
        found = {}
        for path in self.user_home.glob(".claude/sessions/*.json"):
            with suppress(OSError, ValueError):
                noted = json.loads(path.read_text())
                if noted.get("cwd") == str(self.directory):
                    found[path.stem] = f"{noted.get('status')} {noted.get('waitingFor', '')}".strip()
        return found

    async def screen(self) -> str:
        try:
            screen = await self.stage.people.of_the_team("capture-pane", "-p", "-t", f"={self.session_name}:")
            return screen.replace("\xa0", " ")
        except RuntimeError as error:
            return f"({error})"

    async def said(self, *words: str, within_s: float = PATIENCE_S) -> None:
        """Its answers hold all of the words."""
        deadline = time.monotonic() + patient(within_s)
        while not all(each in (answer := "\n".join(self.conversations.answers())) for each in words):
            expect(time.monotonic() < deadline, f"its answers do not hold {words}, but {answer[-400:]!r}")
            await asyncio.sleep(POLL_S)

    async def answers(self, decision: str | None = None, **more: Any) -> results.RespondResult:
        """The lead's ``respond``: a decision, or ``option``."""
        fields = {"instance_id": self.instance_id, "decision": decision, **more}
        return await self.stage.client.respond(requests.RespondRequest.model_validate(fields))

    async def interrupt(self) -> results.InterruptResult:
        return await self.stage.client.interrupt(requests.InterruptRequest(instance_id=self.instance_id))

    async def restart(self) -> results.RestartsResult:
        return await self.stage.client.restart(requests.RestartRequest(instance_id=self.instance_id))

    async def recycle(self) -> results.RecycleResult:
        return await self.stage.client.recycle(requests.RecycleRequest(instance_id=self.instance_id))

    async def is_visited(self, size: tuple[int, int] = (120, 40), *, plain_tmux: bool = True) -> Person:
        """Somebody sits down before it."""
        person = await self.stage.people.sits_down(self.instance_id, self.session_name, size, plain_tmux=plain_tmux)
        self.people.append(person)
        return person

    async def gets_a_draft(self, person: Person) -> str:
        """The person types something and does not send it. Returns the words, which must reach no conversation."""
        draft = f"half a thought {uuid.uuid4().hex[:8]}"
        self.drafts.append(draft)
        await person.types(draft)
        await self.shows(draft)
        return draft

    async def shows(self, words: str | Callable[[str], object], within_s: float = PATIENCE_S) -> str:
        """The screen of its pane once it has the words, or meets the condition."""
        deadline = time.monotonic() + patient(within_s)
        while True:
            screen = await self.screen()
            if words in screen if isinstance(words, str) else words(screen):
                return screen
            if time.monotonic() > deadline:
                raise AssertionError(f"{words!r} does not come up within {within_s:.0f} s; {await self.describes()}")
            await asyncio.sleep(POLL_S)

    def agent(self) -> psutil.Process:
        """The process of the agent in its pane. Blocks a moment."""
        pid = subprocess.run(
            [
                "tmux",
                "-S",
                str(self.stage.home.tmux_socket),
                "display-message",
                "-p",
                "-t",
                f"={self.session_name}:",
                "#{pane_pid}",
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return psutil.Process(int(pid.stdout))

    def processes(self) -> list[psutil.Process]:
        """All that carry the instance's mark. Blocks."""
        return processes_with(INSTANCE_MARK, str(self.stage.home.instance_directory(self.instance_id)))

    async def settles(self) -> None:
        """The accounts of every scenario: all that was accepted stands in the conversation once, no draft does."""
        deadline = time.monotonic() + patient(_ARRIVES_S)
        while missing := [each for each in self.sent if not self.conversations.times()[each]]:
            if time.monotonic() > deadline:
                texts = ", ".join(repr(self.sent[each][:60]) for each in missing)
                raise AssertionError(f"lost: {texts} is in no conversation; {await self.describes()}")
            await asyncio.sleep(POLL_S)
        doubled = [message_id for message_id, times in self.conversations.times().items() if times > 1]
        where = [
            f"{said.at:.3f} {said.kind} {said.text[:120]!r}"
            for said in self.conversations.said()
            if any(message_id in said.text for message_id in doubled)
        ]
        expect(not doubled, "doubled: " + "\n".join(where))
        undead = [text[:60] for each, text in self.failed.items() if self.conversations.times()[each]]
        expect(not undead, f"called failed, and yet in the conversation: {undead}")
        submitted = [text[:200] for draft in self.drafts for text in self.conversations.mentions(draft)]
        expect(not submitted, f"submitted for a person: {submitted}")

    async def ends(self) -> None:
        with suppress(PhalanxError):
            await self.stage.client.terminate(requests.TerminateRequest(instance_id=self.instance_id))


@dataclass(slots=True)
class Scene:
    """What one scenario has started. Its agents have a HOME of their own, which they share unless it says otherwise:
    what Claude Code notes there of agents that were ended must not reach other scenarios."""

    cast: list[Member] = field(default_factory=list)
    user_home: Path | None = None


SCENE: ContextVar[Scene] = ContextVar("SCENE")
"""The scenario of this context."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """``version`` is what the program says of itself. ``claude`` is a link of ours to it, which the team starts."""

    directory: Path
    home: Home
    environment: Mapping[str, str]
    claude: Path
    program: Path
    version: str
    api: ApiStandIn
    client: SupervisorClient
    people: People
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def is_at_least(self, version: str) -> bool:
        return numbers(self.version) >= numbers(version)

    async def named(self, name: str) -> results.InstanceInfo | None:
        """The instance with this name; for one that is still starting."""
        listed = (await self.client.list(requests.ListRequest())).instances
        return next((each for each in listed if each.name == name), None)

    async def told_of(self, name: str) -> str:
        found = await self.named(name)
        return f"{found.status}: {found.reason or 'no reason'}" if found else "it is not listed"

    def repository(self, files: Mapping[str, str] | None = None) -> Path:
        """A fresh one; ``files`` are in its commit."""
        repository = make_repository(self.directory / f"project{next(self._numbers)}")
        for name, text in (files or {}).items():
            path = repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if files:
            git(repository, "add", "--force", ".")
            git(repository, "commit", "-q", "-m", "Prepare")
        return repository

    def another_user(self, settings: str = "") -> Path:
        """A HOME beside that of the team, with these words in Claude Code's settings of the user."""
        home = make_claude_home(self.directory / f"user{next(self._numbers)}")
        if settings:
            (home / ".claude").mkdir()
            (home / ".claude" / "settings.json").write_text(settings)
        return home

    async def member(
        self,
        context: str = "hello",
        *,
        repository: Path | None = None,
        user_home: Path | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Member:
        """A new instance."""
        scene = SCENE.get()
        user_home = user_home or scene.user_home or self.another_user()
        scene.user_home = scene.user_home or user_home
        fields = {
            "role": Role.SPECIALIST,
            "work_dir": str(repository or self.repository()),
            "context": context,
            "env": {"HOME": str(user_home), **(env or {})},
            "permission_mode": "default",
            "name": f"member{next(self._numbers)}",
            **more,
        }
        request = expect_valid(fields)
        try:
            async with asyncio.timeout(patient(_START_S)):
                spawned = await self.client.spawn(request)
        except TimeoutError:
            told = await self.told_of(str(fields["name"]))
            raise AssertionError(f"it did not start within {_START_S:.0f} s; {told}") from None
        member = Member(
            stage=self,
            instance_id=spawned.instance_id,
            session_name=spawned.session_name,
            directory=Path(spawned.working_directory),
            user_home=user_home,
        )
        SCENE.get().cast.append(member)
        return member


async def settle_accounts() -> None:
    """Of all members that this scenario has started."""
    for member in SCENE.get().cast:
        await member.settles()


async def clear_away() -> None:
    """Ends what this scenario has started."""
    for member in SCENE.get().cast:
        for person in member.people:
            with suppress(RuntimeError):
                await person.closes_the_window()
        await member.ends()


def expect_valid(fields: Mapping[str, Any]) -> SpawnRequest:
    """Raises ``AssertionError`` in words when the request is refused for its form."""
    try:
        return SpawnRequest.model_validate(fields)
    except ValidationError as refused:
        first = refused.errors()[0]
        field_name = ".".join(map(str, first["loc"]))
        raise AssertionError(f"spawn refuses {field_name} {first['input']!r}: {first['msg']}") from None


def tool(name: str, **given: Any) -> str:
    """A line of a message that makes the stand-in call this tool."""
    return f"@@tool {name} {json.dumps(given)}"


def bash(command: str, **more: Any) -> str:
    return tool("Bash", command=command, description="do it", **more)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:3])


def version_of(program: Path) -> str:
    """What ``--version`` says, such as ``2.1.332``. Raises ``OSError`` or ``ValueError`` for what is no Claude Code."""
    asked = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=_VERSION_S)
    found = re.match(r"\d+\.\d+\.\d+", asked.stdout)
    if asked.returncode != 0 or not found:
        raise ValueError(f"{program} --version says {(asked.stdout or asked.stderr).strip()!r}")
    return found[0]


@asynccontextmanager
async def set_up(program: Path) -> AsyncIterator[Stage]:
    """A team that is up; nothing of it is left after the block, whatever ends it."""
    directory = Path(tempfile.mkdtemp(prefix="pcc", dir="/tmp"))
    home, run_id = Home(directory / "h"), uuid.uuid4().hex
    version = await asyncio.to_thread(version_of, program)
    async with AsyncExitStack() as stack:
        stack.enter_context(guarded(run_id, home, directory))
        api = stack.enter_context(ApiStandIn())
        claude = directory / "claude"
        claude.symlink_to(program.resolve())
        user = standin_environment(api.url, make_claude_home(directory / "user"))
        environment = shell_environment(
            home,
            **{
                RUN_MARK: run_id,
                "PHALANX_CLAUDE_COMMAND": str(claude),
                "PHALANX_ALLOW_BYPASS_PERMISSIONS": "true",
                "LANG": "C.UTF-8",
                **user,
            },
        )
        runtime = Runtime(home, Settings.load(home, environment))
        await asyncio.to_thread(runtime.up, environment)
        stack.push_async_callback(asyncio.to_thread, runtime.down)
        people = People(directory, environment, home.tmux_socket)
        stack.push_async_callback(people.close)
        client = await stack.enter_async_context(await SupervisorClient.connect(home))
        yield Stage(
            directory=directory,
            home=home,
            environment=environment,
            claude=claude,
            program=program,
            version=version,
            api=api,
            client=client,
            people=people,
        )
