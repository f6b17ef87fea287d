"""What was found, kept as JSON so that one peer or one scenario can be measured anew, and the table of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.benchmarks.peers.peer import Peer
from scripts.benchmarks.peers.scenarios import ROWS, Finding

KEPT = Path("docs/performance/peers.json")
PAGE = Path("docs/performance/peers.md")
OURS = "Phalanx"
_BETTER_BY = 1.05
_HEAD = """# Beside what a user would take instead

Made by `scripts/bench --peers`, which installs each from its registry into a directory of its own, gives it a HOME of
its own, and drives all by the same scenarios; `scripts/bench --peers NAME ...` measures some of them, or some of the
scenarios (times, ten, texts, dialog, kill), anew. The agents are the real Claude Code, in permission mode `default`,
against a stand-in of the API on this machine. **A text counts when the agent's model is asked with it**, exactly,
whatever the sender was told. Times are medians, of the rounds in which the peers took turns.
"""
_HOW = """
*floor*: Claude Code in tmux, typed into by paste and Enter once the text shows, with nothing that checks; *claude TEXT*
has its first message on the command line. *claude --bg* and *agent team* are Claude Code's own, led by a `claude -p`
whose model calls `SendMessage` and `Agent` as it is told, so a turn of the lead is in their times. *hcom* and *mngr*
are driven by their commands, *CAO* by the calls that its commands make to its server, with its profile `developer`;
*Phalanx* by a connected client, as a lead has it over MCP. *busy*: the message is sent during a turn of the model, and
counts from the end of that turn. *beside*: all processes in the peer's HOME but the agents, tmux's among them; memory
is the proportional share (PSS). *kill -9*: what stands between sender and agent dies during the tenth message; it is
started again where a user would, and what failed is sent once more.
"""


def keep(peer: type[Peer], version: str, findings: Mapping[str, Finding], machine: str, *, path: Path = KEPT) -> None:
    """Puts new findings in place of older ones of the same peer and row."""
    kept = read(path)
    known = kept.setdefault(peer.name, {"rows": {}})
    known["version"] = version
    for row, finding in findings.items():
        rounded = [round(sample, 4) for sample in finding.samples]
        known["rows"][row] = {**asdict(finding), "samples": rounded, "machine": machine}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def read(path: Path = KEPT) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def page_of(kept: Mapping[str, Any], peers: Sequence[type[Peer]], why_better: Mapping[str, str]) -> str:
    """``peers``: the columns; ``why_better``: by row, why one is better there than Phalanx."""
    does_not = {peer.name: "; ".join(peer.does_not) for peer in peers}
    names = [name for name in does_not if name in kept]
    lines = [_HEAD, *table(kept, names), _HOW.rstrip(), ""]
    lines += ["## Where another is better", "", *_better(kept, names, why_better), ""]
    lines += ["## What each does not do", ""]
    lines += [f"- *{_titled(kept, name)}* does not {does_not[name]}." for name in names]
    lines += ["", "## What did not arrive, and what was killed", ""]
    for row in ("texts", "kill"):
        notes = [(name, kept[name]["rows"].get(row, {}).get("notes")) for name in names]
        lines += [f"- {ROWS[row].title}, *{name}*: {note}." for name, note in notes if note]
    lines += ["", *_machines(kept, names), ""]
    return "\n".join(lines)


def table(kept: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    head = ["what", *(_titled(kept, name) for name in names)]
    rows = [[row.title, *(_cell(kept[name], key) for name in names)] for key, row in ROWS.items()]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _titled(kept: Mapping[str, Any], name: str) -> str:
    return f"{name} {kept[name]['version']}".strip()


def _cell(of_peer: Mapping[str, Any], row: str) -> str:
    found = of_peer["rows"].get(row)
    return "not measured" if found is None else str(found["words"]).replace("|", "\\|")


def _better(kept: Mapping[str, Any], names: Sequence[str], why: Mapping[str, str]) -> list[str]:
    found = []
    for key, row in ROWS.items():
        better = better_than_ours(kept, names, key)
        if better:
            told = ", ".join(f"{name} ({_cell(kept[name], key)})" for name in better)
            reason = f" {why[key]}" if key in why else ""
            found.append(f"- {row.title}: {told}; Phalanx {_cell(kept[OURS], key)}.{reason}")
    return found or ["Nowhere by more than 5 %."]


def better_than_ours(kept: Mapping[str, Any], names: Sequence[str], row: str) -> list[str]:
    """Those with a score that is better than that of Phalanx by more than 5 %, or by a whole one of what is counted."""
    less = ROWS[row].less
    ours = kept.get(OURS, {}).get("rows", {}).get(row, {}).get("score")
    if less is None or ours is None:
        return []
    scores = {name: kept[name]["rows"].get(row, {}).get("score") for name in names if name != OURS}
    return [name for name, score in scores.items() if score is not None and _is_better(score, ours, less=less)]


def _is_better(score: float, ours: float, *, less: bool) -> bool:
    return score * _BETTER_BY < ours if less else score > ours


def _machines(kept: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Each machine once, and below it what was measured there, by the load and the day."""
    where: dict[str, dict[str, list[str]]] = {}
    for name in names:
        for row, found in kept[name]["rows"].items():
            machine, _, load = found["machine"].partition("; load average ")
            where.setdefault(machine, {}).setdefault(load, []).append(f"{name} {row}")
    lines = []
    for machine, loads in where.items():
        lines += [machine.rstrip(".") + ".", ""]
        lines += [f"- load average {load.rstrip('.')}: {', '.join(what)}." for load, what in loads.items() if load]
    return lines
