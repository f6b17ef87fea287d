"""What is measured, the same for all. A text counts when it arrived at the receiver, whatever the sender was told."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from actors.processes import is_running
from scripts.benchmarks.peers.peer import Peer, PeerError
from scripts.benchmarks.peers.receiver import Requests
from scripts.benchmarks.peers.texts import AWKWARD, SHELL_RAN
from scripts.benchmarks.processes import cpu_s, pss_mb

MANY = 10
ORDERS = 20
_SLOW_S = 3.0
_IDLE_MESSAGES = 3
_SETTLE_S = 1.5
"""After an answer: until a Claude Code shows that it has none to give."""
_DIALOG_S = 2.5
"""From a request for a tool to its dialog, which nobody but the screen tells."""
_FIRST_S = 60.0
_ALL_S = 120.0
_ARRIVES_S = 30.0
_EXACT_S = 5.0
_WATCH_S = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cell. ``samples`` are in seconds; ``score`` is what is compared; ``notes`` stand below the table."""

    words: str
    samples: Sequence[float] = ()
    score: float | None = None
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``less``: the lower score is the better one; None: it is not compared."""

    title: str
    less: bool | None = None


ROWS = {
    "spawn": Row(title="one spawn, call to the agent's first request", less=True),
    "ten": Row(title=f"{MANY} spawns at once, to the last first request", less=True),
    "idle": Row(title="a message to an idle agent", less=True),
    "busy": Row(title="a message to a busy one, after the end of its turn", less=True),
    "fan": Row(title=f"{MANY} messages at once to one", less=True),
    "texts": Row(title=f"awkward texts, exact of {len(AWKWARD)}", less=False),
    "dialog": Row(title="a message while it asks for permission"),
    "kill": Row(title=f"kill -9 in the middle of {ORDERS} messages"),
    "memory": Row(title=f"memory beside {MANY} agents", less=True),
    "cpu": Row(title=f"CPU beside {MANY} idle agents, of one core", less=True),
}


@dataclass(slots=True)
class Bout:
    """One peer that is open, and what arrives from its agents. ``findings`` gathers by row."""

    peer: Peer
    requests: Requests
    findings: dict[str, Finding] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    number: int = 0

    def words(self, what: str) -> str:
        """A text that was not used before."""
        self.number += 1
        return f"{what} {self.number:03d} for {self.peer.name}"

    def can(self, row: str) -> bool:
        """Says why not in the table."""
        if row in self.peer.cannot:
            self.findings[row] = Finding(words=f"({self.peer.cannot[row]})")
        return row not in self.peer.cannot

    @contextmanager
    def agent(self, *lines: str) -> Iterator[tuple[str, float, float]]:
        """One agent, when the call was made, and when its first message arrived. Raises ``PeerError``."""
        text = "\n".join((*lines, self.words("begin")))
        begun = time.monotonic()
        instance = self.peer.start(text)
        try:
            arrived = self.requests.wait_for(text, _FIRST_S)
            if arrived is None:
                raise PeerError(f"the first message did not arrive within {_FIRST_S:.0f} s")
            yield instance, begun, arrived
        finally:
            with suppress(PeerError):
                self.peer.end(instance)

    def sample(self, row: str, value: float) -> None:
        self.samples.setdefault(row, []).append(value)
        samples = self.samples[row]
        p50 = statistics.median(samples)
        self.findings[row] = Finding(words=f"{max(p50, 0):.2f} s", samples=tuple(samples), score=p50)

    def failed(self, row: str, why: object) -> None:
        """What was measured before stays in the table."""
        before = self.findings.get(row)
        words = f"{before.words}; once: {why}" if before and before.samples else str(why)
        self.findings[row] = Finding(
            words=words, samples=before.samples if before else (), score=before.score if before else None
        )


def times(bout: Bout) -> None:
    """One round: a spawn, a message during its first turn, and some when it is idle."""
    row = "spawn"
    try:
        with bout.agent(f"@@slow {_SLOW_S}") as (instance, begun, arrived):
            bout.sample(row, arrived - begun)
            row, ends = "busy", arrived + _SLOW_S
            text = bout.words("while you work")
            if time.monotonic() < ends - 0.5:
                bout.peer.send(instance, text)
                bout.sample(row, _arrival(bout, text) - ends)
                time.sleep(_SLOW_S)  # an agent that was told by a hook still has the first text as its last typed one
            row = "idle"
            for _ in range(_IDLE_MESSAGES):
                time.sleep(max(_SETTLE_S, ends + _SETTLE_S - time.monotonic()))
                text = bout.words("a message")
                sent = time.monotonic()
                with _sending(bout, instance, text):
                    bout.sample(row, _arrival(bout, text) - sent)
    except PeerError as error:
        bout.failed(row, error)


def ten(bout: Bout) -> None:
    """Ten agents at once; then ten messages at once to the first of them, and what runs beside them."""
    texts = [bout.words("one of many") for _ in range(MANY)]
    begun = time.monotonic()
    instances: list[str] = []
    try:
        instances = bout.peer.start_many(texts)
        arrivals = [bout.requests.wait_for(text, max(0.0, begun + _ALL_S - time.monotonic())) for text in texts]
        came = [arrival for arrival in arrivals if arrival is not None]
        if len(came) < MANY:
            bout.failed("ten", f"{len(came)} of {MANY} within {_ALL_S:.0f} s")
            return
        bout.sample("ten", max(came) - begun)
        time.sleep(_SETTLE_S)
        _fan(bout, instances[0])
        _cost(bout)
    except PeerError as error:
        bout.failed("ten", error)
    finally:
        with ThreadPoolExecutor(MANY) as pool:
            list(pool.map(lambda one: _quietly(bout.peer.end, one), instances))


def _fan(bout: Bout, instance: str) -> None:
    if not bout.can("fan"):
        return
    texts = [bout.words("all at once") for _ in range(MANY)]
    begun = time.monotonic()
    with ThreadPoolExecutor(MANY) as pool:
        failures = [why for why in pool.map(lambda text: _quietly(bout.peer.send, instance, text), texts) if why]
    arrivals = [bout.requests.wait_for(text, max(0.0, begun + _ARRIVES_S - time.monotonic())) for text in texts]
    came = [arrival for arrival in arrivals if arrival is not None]
    twice = sum(bout.requests.times(text) > 1 for text in texts)
    told = f"; {len(failures)} refused: {failures[0]}" if failures else ""
    if len(came) == MANY and not twice:
        bout.sample("fan", max(came) - begun)
    else:
        bout.failed("fan", f"{len(came)} of {MANY}{f', {twice} twice' if twice else ''}{told}")


def _cost(bout: Bout) -> None:
    if not (bout.can("memory") and bout.can("cpu")):
        return
    time.sleep(_SETTLE_S)
    agents = set(bout.peer.agents())
    beside = [process for process in bout.peer.place.processes() if process not in agents and is_running(process)]
    before = _cpu_s(beside)
    time.sleep(_WATCH_S)
    used = 100 * (_cpu_s(beside) - before) / _WATCH_S
    memory = sum(_memory_mb(process) for process in beside)
    noun = "process" if len(beside) == 1 else "processes"
    words = f"{memory:.0f} MB in {len(beside)} {noun}"
    bout.findings["memory"] = Finding(words=words, samples=(memory,), score=memory)
    bout.findings["cpu"] = Finding(words=f"{used:.1f} %", samples=(used,), score=used)


def texts(bout: Bout) -> None:
    """Each text to an idle agent; one that did not take it is replaced, for it may be stuck."""
    if not bout.can("texts"):
        return
    missed: dict[str, str] = {}
    left = list(AWKWARD)
    ran = bout.peer.place.home / SHELL_RAN
    try:
        while left:
            with bout.agent() as (instance, _, _):
                time.sleep(_SETTLE_S)
                while left:
                    what = left.pop(0)
                    why = _try_text(bout, instance, AWKWARD[what])
                    if ran.exists():
                        ran.unlink()
                        why = "ran as a command"
                    if why:
                        missed[what] = why
                        break
                    time.sleep(_SETTLE_S)
    except PeerError as error:
        bout.findings["texts"] = Finding(words=str(error))
        return
    exact = len(AWKWARD) - len(missed)
    runs = sum(why == "ran as a command" for why in missed.values())
    words = f"{exact}{f'; {runs} ran as commands' if runs else ''}"
    notes = "; ".join(f"{what}: {why}" for what, why in missed.items())
    bout.findings["texts"] = Finding(words=words, score=exact, notes=notes)


def _try_text(bout: Bout, instance: str, text: str) -> str:
    """Why it is not there; empty when it is."""
    said = _quietly(bout.peer.send, instance, text)
    if bout.requests.wait_for(text, _EXACT_S) is not None:
        return ""
    return f"refused ({said})" if said else "did not arrive as it was"


def dialog(bout: Bout) -> None:
    """A message to an agent that asks whether it may run a command."""
    if not bout.can("dialog"):
        return
    ran = bout.peer.place.home / "tool-ran"
    call = f'@@tool Bash {{"command": "touch {ran}", "description": "touch"}}'
    try:
        with bout.agent(call) as (instance, _, _):
            time.sleep(_DIALOG_S)
            if ran.exists():
                bout.findings["dialog"] = Finding(words="the call ran without asking")
                return
            text = bout.words("meanwhile")
            said: list[str] = []
            with _sending(bout, instance, text, said):
                arrived = bout.requests.wait_for(text, _ARRIVES_S / 2) is not None
            if ran.exists():
                words = f"**approved the call**; the text {'arrived' if arrived else 'was lost'}"
            elif arrived:
                words = "arrived; the call was not run"
            else:
                refused = _quietly(bout.peer.allow, instance)
                late = bout.requests.wait_for(text, _ARRIVES_S / 2) is not None
                words = "arrived once it was answered" if late else "did not arrive"
                words += f"; the sender was told: {said[0]}{f' ({refused})' if refused else ''}"
            bout.findings["dialog"] = Finding(words=words)
    except PeerError as error:
        bout.findings["dialog"] = Finding(words=str(error))


def kill(bout: Bout) -> None:
    """Twenty messages one by one; what stands between dies during the tenth, and what failed is sent again."""
    if not bout.can("kill"):
        return
    orders = [bout.words("order") for _ in range(ORDERS)]
    try:
        with bout.agent() as (instance, _, _):
            time.sleep(_SETTLE_S)
            agents = list(bout.peer.agents())
            what, failed = _send_and_kill(bout.peer, instance, orders)
            gone = _quietly(bout.peer.recover, instance)
            refused = [why for text in failed if (why := _quietly(bout.peer.send, instance, text))]
            deadline = time.monotonic() + _ARRIVES_S
            for text in orders:
                bout.requests.wait_for(text, max(0.0, deadline - time.monotonic()))
            bout.findings["kill"] = _kill_finding(bout, orders, agents, what, [gone, *refused] if gone else refused)
    except PeerError as error:
        bout.findings["kill"] = Finding(words=str(error))


def _send_and_kill(peer: Peer, instance: str, orders: Sequence[str]) -> tuple[str, list[str]]:
    """What was killed, and the texts whose call failed or was not made any more."""
    half_way = threading.Event()
    killed = threading.Event()
    failed: list[str] = []

    def send_all() -> None:
        for number, text in enumerate(orders, 1):
            if number == ORDERS // 2:
                half_way.set()
            if _quietly(peer.send, instance, text):
                if killed.is_set():
                    failed.extend(orders[number - 1 :])
                    return
                failed.append(text)

    sender = threading.Thread(target=send_all)
    sender.start()
    half_way.wait()
    try:
        what = peer.kill_orchestrator()
    finally:
        killed.set()
        sender.join()
    return what, failed


def _kill_finding(
    bout: Bout, orders: Sequence[str], agents: Sequence[psutil.Process], what: str, refused: Sequence[str]
) -> Finding:
    counts = [bout.requests.times(text) for text in orders]
    came, twice = sum(count > 0 for count in counts), sum(count > 1 for count in counts)
    lived = all(is_running(agent) for agent in agents)
    told = f"; {len(refused)} refused for good" if refused else ""
    words = f"{came} of {ORDERS}, {twice or 'none'} twice{told}; the agent {'went on' if lived else 'died with it'}"
    return Finding(words=words, notes=f"killed: {what}{f'; refused: {refused[0]}' if refused else ''}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``rows``: those of the table that it fills; ``rounds``: how often, the peers in turn."""

    measure: Callable[[Bout], None]
    rows: Sequence[str]
    rounds: int = 1


SCENARIOS = {
    "times": Scenario(measure=times, rows=("spawn", "busy", "idle"), rounds=3),
    "ten": Scenario(measure=ten, rows=("ten", "fan", "memory", "cpu")),
    "texts": Scenario(measure=texts, rows=("texts",)),
    "dialog": Scenario(measure=dialog, rows=("dialog",)),
    "kill": Scenario(measure=kill, rows=("kill",)),
}


@contextmanager
def _sending(bout: Bout, instance: str, text: str, said: list[str] | None = None) -> Iterator[None]:
    """Sends at once, and meanwhile lets the caller watch the receiver. Raises ``PeerError`` when the call failed and
    the caller saw nothing arrive."""
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(bout.peer.send, instance, text)
        yield
        try:
            answer = sent.result()
        except PeerError as error:
            answer = f"refused: {error}"
        if said is not None:
            said.append(answer)


def _arrival(bout: Bout, text: str) -> float:
    arrived = bout.requests.wait_for(text, _ARRIVES_S)
    if arrived is None:
        raise PeerError(f"a message did not arrive within {_ARRIVES_S:.0f} s")
    return arrived


def _quietly(call: Callable[..., object], *arguments: object) -> str:
    """Why it failed; empty when it did not."""
    try:
        call(*arguments)
    except PeerError as error:
        return str(error)
    return ""


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    with_time = [process for process in processes if is_running(process)]
    return sum(cpu_s({"all": with_time}).values())


def _memory_mb(process: psutil.Process) -> float:
    try:
        return pss_mb(process)
    except psutil.Error:
        return 0.0
