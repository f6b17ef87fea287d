"""Runs scenarios over peers, and keeps what each found as soon as it is known."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

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
from scripts.benchmarks.peers.scenarios import REPEATED, ROUNDS, ROWS, SCENARIOS, Bout, Finding

PEERS: tuple[type[Peer], ...] = (Floor, ClaudeText, Phalanx, Hcom, ClaudeBackground, AgentTeam, Mngr, Cao)
NAMES = {peer.name.replace(" --", "-").replace(" ", "-").lower(): peer for peer in PEERS}
WHY_BETTER: dict[str, str] = {}


def run(names: Sequence[str], bench: Bench) -> None:
    """``names``: of peers and scenarios; without one of a kind all of that kind."""
    peers = [NAMES[name] for name in names if name in NAMES] or list(PEERS)
    scenarios = [name for name in names if name in SCENARIOS] or list(SCENARIOS)
    there = [peer for peer in peers if _is_installed(peer, bench)]
    for name in scenarios:
        if name in REPEATED:
            _in_turn(there, name, bench)
        else:
            for peer in there:
                _in_turn([peer], name, bench)
    write()


def write() -> None:
    order = [peer.name for peer in PEERS]
    results.PAGE.write_text(results.page_of(results.read(), order, WHY_BETTER))


def _is_installed(peer: type[Peer], bench: Bench) -> bool:
    bench.say(f"installing {peer.name}")
    try:
        install(peer)
    except PeerError as error:
        why = Finding(words=f"cannot be installed: {error}")
        results.keep(peer, "", dict.fromkeys(ROWS, why), page.machine(bench.claude_version()))
        return False
    return True


def _in_turn(peers: Sequence[type[Peer]], scenario: str, bench: Bench) -> None:
    machine = page.machine(bench.claude_version())
    with ExitStack() as stack:
        bouts = [bout for peer in peers if (bout := _open(peer, scenario, bench, stack, machine))]
        for number in range(ROUNDS if scenario in REPEATED else 1):
            for bout in bouts:
                bench.say(f"{bout.peer.name}: {scenario}{f', round {number + 1}' if scenario in REPEATED else ''}")
                SCENARIOS[scenario](bout)
                for row, finding in bout.findings.items():
                    console.print(f"    {row}: {finding.words}", markup=False)
                results.keep(type(bout.peer), _version(type(bout.peer), bench), bout.findings, machine)


def _open(peer: type[Peer], scenario: str, bench: Bench, stack: ExitStack, machine: str) -> Bout | None:
    bench.say(f"opening {peer.name}")
    receiver = stack.enter_context(Receiver())
    home = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    place = make_place(home, receiver.url, bench.claude, peer.programs())
    stack.callback(place.end)
    opened = peer(place)
    stack.callback(_closing(opened))
    try:
        opened.open()
    except PeerError as error:
        results.keep(peer, _version(peer, bench), {scenario: Finding(words=str(error))}, machine)
        return None
    return Bout(peer=opened, requests=receiver.requests)


def _closing(peer: Peer) -> Callable[[], None]:
    def close() -> None:
        try:
            peer.close()
        except PeerError as error:
            console.print(f"  closing {peer.name}: {error}", markup=False)

    return close


def _version(peer: type[Peer], bench: Bench) -> str:
    return version_of(peer) or (bench.claude_version() if peer.name in ("claude --bg", "agent team") else "")
