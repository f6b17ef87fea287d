"""What Claude Code has itself: sessions in the background (``claude --bg``), and teammates of one lead.

Both are addressed by a lead's tools, so a lead is run here whose model does what it is told to: a ``claude -p`` that
stays, with a stand-in that makes it call ``SendMessage`` or ``Agent``.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import psutil

from scripts.benchmarks.peers.peer import CALL_S, Peer, PeerError, Place, claudes, kill_all, shortened
from tests.standin.api import ApiStandIn

_ATTACHES_S = 3.0
"""Until an attached session shows its dialog."""


class Lead:
    """A Claude Code that calls the tools that it is told to, several at once, and answers with their results."""

    def __init__(self, place: Place, **environment: str) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            ["claude", "-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"],
            executable=place.home / "bin/claude",
            cwd=place.project,
            env={**place.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def call(self, tool: str, inputs: Sequence[Mapping[str, object]]) -> list[str]:
        """The results in the order of the inputs. Raises ``PeerError`` with the words of the first that failed."""
        told = "\n".join(f"@@tool {tool} {json.dumps(each)}" for each in inputs)
        with self._lock, _ended_after(self._process, CALL_S):
            results = self._turn(told)
        if len(results) < len(inputs):
            raise PeerError("its lead does not answer")
        for words, failed in results:
            if failed:
                raise PeerError(shortened(words))
        return [words for words, _ in results]

    def _turn(self, text: str) -> list[tuple[str, bool]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise PeerError("its lead has no pipes")
        said = {"type": "user", "message": {"role": "user", "content": text}}
        results: list[tuple[str, bool]] = []
        try:
            self._process.stdin.write(json.dumps(said) + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                event = json.loads(line)
                if event["type"] == "result":
                    break
                if event["type"] == "user" and isinstance(event["message"]["content"], list):
                    results += [
                        _result(block) for block in event["message"]["content"] if block["type"] == "tool_result"
                    ]
        except OSError as error:
            raise PeerError(f"its lead has ended ({error.strerror})") from error
        return results

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class ClaudeBackground(Peer):
    name = "claude --bg"
    does_not: ClassVar[tuple[str, ...]] = ("prove that a text arrived", "take one but from another Claude, or by hand")

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._names = (f"w{number}" for number in itertools.count(1))
        self._ids: dict[str, str] = {}
        self._stack = ExitStack()
        self._lead: Lead | None = None

    def open(self) -> None:
        if self._lead is None:
            # The lead's own requests go elsewhere, so that what arrives is what the agents are asked.
            api = self._stack.enter_context(ApiStandIn())
            self._lead = Lead(self.place, ANTHROPIC_BASE_URL=api.url)
            self._stack.callback(self._lead.end)

    def close(self) -> None:
        self._stack.close()
        self.place.run(self.place.home / "bin/claude", "daemon", "stop", "--any")

    def start(self, text: str) -> str:
        name = next(self._names)
        self.place.run(self.place.home / "bin/claude", "--bg", "--name", name, text)
        return name

    def send(self, instance: str, text: str) -> str:
        if self._lead is None:
            raise PeerError("it is not open")
        self._lead.call("SendMessage", [{"to": instance, "message": text, "summary": "a message"}])
        return "sent"

    def end(self, instance: str) -> None:
        self.place.run(self.place.home / "bin/claude", "stop", self._id(instance))

    def recover(self, instance: str) -> None:
        """The next `claude` starts the daemon again, and the lead goes on."""

    def allow(self, instance: str) -> None:
        """By a person who attaches."""
        attach = [str(self.place.home / "bin/claude"), "attach", self._id(instance)]
        self.place.run("tmux", "new-session", "-d", *attach)
        time.sleep(_ATTACHES_S)
        super().allow(instance)

    def _id(self, instance: str) -> str:
        found = [str(each["id"]) for each in self._listed() if each.get("name") == instance]
        if not found:
            raise PeerError(f"{instance} is not listed")
        return found[0]

    def agents(self) -> Sequence[psutil.Process]:
        pids = {each.get("pid") for each in self._listed()}
        return [process for process in claudes(self.place) if process.pid in pids]

    def kill_orchestrator(self) -> str:
        found = [process for process in claudes(self.place) if "daemon" in process.cmdline()[1:2]]
        if not found:
            raise PeerError("no daemon of it was found")
        kill_all(found)
        return "its daemon"

    def _listed(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.place.run(self.place.home / "bin/claude", "agents", "--json"))
        return [each for each in listed if each.get("kind") == "background"]


class AgentTeam(Peer):
    name = "agent team"
    cannot: ClassVar[Mapping[str, str]] = dict.fromkeys(("memory", "cpu"), "its agents share the lead's process")
    does_not: ClassVar[tuple[str, ...]] = ("run an agent that outlives its lead", "prove that a text arrived")

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._names = (f"t{number}" for number in itertools.count(1))
        self._lead: Lead | None = None

    def open(self) -> None:
        self._lead = Lead(self.place, CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS="1")

    def close(self) -> None:
        if self._lead is not None:
            self._lead.end()

    def start(self, text: str) -> str:
        return self.start_many([text])[0]

    def start_many(self, texts: Sequence[str]) -> list[str]:
        names = [next(self._names) for _ in texts]
        inputs = [
            {"name": name, "description": "a piece of work", "prompt": text, "subagent_type": "general-purpose"}
            for name, text in zip(names, texts, strict=True)
        ]
        self._call("Agent", inputs)
        return names

    def send(self, instance: str, text: str) -> str:
        self._call("SendMessage", [{"to": instance, "message": text, "summary": "a message"}])
        return "sent"

    def end(self, instance: str) -> None:
        """A teammate that has nothing to do ends by itself."""

    def agents(self) -> Sequence[psutil.Process]:
        return claudes(self.place)

    def kill_orchestrator(self) -> str:
        if self._lead is None:
            raise PeerError("it is not open")
        self._lead.end()
        return "its lead, in whose process they are"

    def _call(self, tool: str, inputs: Sequence[Mapping[str, object]]) -> None:
        if self._lead is None:
            raise PeerError("it is not open")
        self._lead.call(tool, inputs)


def _result(block: Mapping[str, Any]) -> tuple[str, bool]:
    content = block.get("content", "")
    words = content if isinstance(content, str) else " ".join(each.get("text", "") for each in content)
    return words, bool(block.get("is_error")) or '"success":false' in words


@contextmanager
def _ended_after(process: subprocess.Popen[str], timeout_s: float) -> Iterator[None]:
    """Kills the process if the block takes longer, so that reading from it ends."""
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
