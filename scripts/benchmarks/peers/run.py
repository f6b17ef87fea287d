"""Runs scenarios over peers, and keeps what each found as soon as it is known."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil

from actors.errors import PhalanxError
from scripts.benchmarks import page
from scripts.benchmarks.bench import Bench, console
from scripts.benchmarks.peers import results
from scripts.benchmarks.peers.cao import Cao
from scripts.benchmarks.peers.claude_own import AgentTeam, ClaudeBackground
from scripts.benchmarks.peers.floor import ClaudeText, Floor
from scripts.benchmarks.peers.hcom import Hcom
from scripts.benchmarks.peers.mngr import Mngr
from scripts.benchmarks.peers.peer import Peer, PeerError, install, make_place, version_of
from scripts.benchmarks.peers.phalanx import Phalanx
from scripts.benchmarks.peers.receiver import Receiver
from scripts.benchmarks.peers.scenarios import ROWS, SCENARIOS, Bout, Finding, Scenario

PEERS: tuple[type[Peer], ...] = (Floor, ClaudeText, Phalanx, Hcom, ClaudeBackground, AgentTeam, Mngr, Cao)
NAMES = {peer.name.replace(" --", "-").replace(" ", "-").lower(): peer for peer in PEERS}
WHY_BETTER = {
    "spawn": "Phalanx makes a worktree by three gits and a record before the agent starts; those make none.",
    "ten": "Worktrees, records and an actor for each start on the same cores as the agents.",
    "idle": "It waits a quiet time for others to go with it, and looks at the screen before each key.",
    "busy": "Phalanx looks at the screen before each key; those hand the text to the program, or type it blindly.",
    "fan": "Phalanx types one after another, and looks at the screen before each key.",
    "texts": "What is typed passes Claude Code's input box, which turns a tab into four spaces, composes accents (NFC) "
    "and drops marks of direction, also at the floor; those hand the text to the program without typing it.",
    "memory": "Phalanx has an actor of Ray for each agent, and Ray itself; see [An idle instance](details.md).",
    "cpu": "It is what Ray itself does in its processes; see [An idle instance](details.md).",
}
"""By row."""
_FAILURES = (PeerError, PhalanxError, OSError, ValueError, LookupError, psutil.Error)


def run(names: Sequence[str], bench: Bench) -> None:
    """``names``: of peers and scenarios; without one of a kind all of that kind."""
    # Asked to end, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    peers = [NAMES[name] for name in names if name in NAMES] or list(PEERS)
    scenarios = [name for name in names if name in SCENARIOS] or list(SCENARIOS)
    there = [peer for peer in peers if _is_installed(peer, bench)]
    for name in scenarios:
        at_once = [there] if SCENARIOS[name].rounds > 1 else [[peer] for peer in there]
        for together in at_once:
            _measure(together, SCENARIOS[name], bench)
    write()


def write() -> None:
    results.PAGE.write_text(results.page_of(results.read(), PEERS, WHY_BETTER))


def _is_installed(peer: type[Peer], bench: Bench) -> bool:
    bench.say(f"installing {peer.name}")
    try:
        install(peer)
    except PeerError as error:
        why = Finding(words=f"cannot be installed: {error}")
        results.keep(peer, "", dict.fromkeys(ROWS, why), page.machine(bench.claude_version()))
        return False
    return True


def _measure(peers: Sequence[type[Peer]], scenario: Scenario, bench: Bench) -> None:
    """In rounds, the peers in turn."""
    machine = page.machine(bench.claude_version())
    with ExitStack() as stack:
        bouts = [_make(peer, bench, stack) for peer in peers]
        opened = [bout for bout in bouts if _try(bout, scenario, bout.peer.open)]
        for number in range(scenario.rounds):
            for bout in opened:
                bench.say(f"{bout.peer.name}, round {number + 1}: {', '.join(scenario.rows)}")
                _try(bout, scenario, partial(scenario.measure, bout))
                for row, finding in bout.findings.items():
                    console.print(f"    {row}: {finding.words}", markup=False)
        for bout in bouts:
            results.keep(type(bout.peer), _version(type(bout.peer), bench), bout.findings, machine)


def _try(bout: Bout, scenario: Scenario, step: Callable[[], None]) -> bool:
    """A peer that fails has its words in the table, and the others go on."""
    try:
        step()
    except _FAILURES as error:
        words = str(error) or type(error).__name__
        for row in scenario.rows:
            bout.findings.setdefault(row, Finding(words=words))
        return False
    return True


def _make(peer: type[Peer], bench: Bench, stack: ExitStack) -> Bout:
    """In a place of its own, which is ended with the stack."""
    receiver = stack.enter_context(Receiver())
    home = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    place = make_place(home, receiver.url, bench.claude, peer.programs())
    stack.callback(place.end)
    made = peer(place)
    stack.callback(_closing(made))
    return Bout(peer=made, requests=receiver.requests)


def _closing(peer: Peer) -> Callable[[], None]:
    def close() -> None:
        try:
            peer.close()
        except _FAILURES as error:
            console.print(f"  closing {peer.name}: {error}", markup=False)

    return close


def _version(peer: type[Peer], bench: Bench) -> str:
    return version_of(peer) or (bench.claude_version() if peer.name in ("claude --bg", "agent team") else "")
