"""The pure parts of ``scripts/bench --peers``: what counts as arrived, and the table."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.peers import results
from scripts.benchmarks.peers.floor import Floor
from scripts.benchmarks.peers.hcom import Hcom
from scripts.benchmarks.peers.phalanx import Phalanx
from scripts.benchmarks.peers.receiver import Requests
from scripts.benchmarks.peers.scenarios import ROWS, Finding
from scripts.benchmarks.peers.texts import AWKWARD

MACHINE = "Machine: one."


def request(*said: tuple[str, str]) -> dict[str, Any]:
    """As Claude Code asks: with tools."""
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]
    return {"tools": [{"name": "Bash"}], "messages": messages}


def arrived(requests: Requests, text: str) -> bool:
    return requests.wait_for(text, 0.0) is not None


def test_a_text_that_the_model_is_asked_with_has_arrived() -> None:
    requests = Requests()
    requests.append(request(("user", "hello"), ("assistant", "echo: hello"), ("user", "go on")))
    assert arrived(requests, "go on")


def test_a_text_in_an_envelope_or_a_reminder_of_a_hook_has_arrived() -> None:
    requests = Requests()
    requests.append(request(("user", '<cross-session-message from="lead">\ngo on\n</cross-session-message>')))
    requests.append(request(("user", "<hcom>"), ("system", "hook: <hcom>lead: look\tat it</hcom>")))
    assert arrived(requests, "go on")
    assert arrived(requests, "look\tat it")


def test_a_text_that_was_changed_on_its_way_has_not_arrived() -> None:
    requests = Requests()
    requests.append(request(("user", "column a    column b")))
    assert not arrived(requests, "column a\tcolumn b")


def test_what_a_lead_is_told_to_send_has_not_arrived_at_the_one_it_is_for() -> None:
    requests = Requests()
    requests.append(request(("user", '@@tool SendMessage {"to": "w1", "message": "go on"}')))
    assert not arrived(requests, "go on")


def test_an_answer_of_the_model_and_a_request_without_tools_are_no_proof() -> None:
    requests = Requests()
    requests.append(request(("user", "hello"), ("assistant", "go on")))
    requests.append({"messages": [{"role": "user", "content": "go on"}]})
    assert not arrived(requests, "go on")


def test_waiting_ends_when_the_text_arrives() -> None:
    requests = Requests()
    threading.Timer(0.05, lambda: requests.append(request(("user", "late")))).start()
    begun = time.monotonic()
    at = requests.wait_for("late", 30.0)
    assert at is not None
    assert 0 < at - begun < 20


def test_a_text_that_came_twice_in_one_conversation_is_counted_twice() -> None:
    requests = Requests()
    requests.append(request(("user", "order 1")))
    requests.append(request(("user", "order 1"), ("assistant", "echo: order 1"), ("user", "order 1")))
    requests.append(request(("user", "order 1"), ("assistant", "a"), ("user", "order 1"), ("assistant", "b")))
    assert requests.times("order 1") == 2
    assert requests.times("order 2") == 0


def test_no_awkward_text_stands_in_another_one() -> None:
    texts = list(AWKWARD.values())
    assert len(texts) == 24
    inside = [(one, two) for one in texts for two in texts if one is not two and one in two]
    assert not inside


def test_new_findings_replace_those_of_the_same_row_and_leave_the_others(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    first = {"spawn": Finding(words="1.00 s", score=1.0), "texts": Finding(words="19", score=19)}
    results.keep(Floor, "", first, MACHINE, path=path)
    results.keep(Floor, "", {"spawn": Finding(words="0.80 s", samples=(0.8,), score=0.8)}, MACHINE, path=path)
    rows = results.read(path)["floor"]["rows"]
    assert rows["spawn"]["words"] == "0.80 s"
    assert rows["texts"]["words"] == "19"


def test_the_table_has_a_column_for_each_and_says_what_was_not_measured(tmp_path: Path) -> None:
    kept = kept_in(tmp_path / "peers.json", hcom_idle=0.2)
    head, _, *rows = results.table(kept, ["Phalanx", "hcom"])
    assert head == "| what | Phalanx | hcom 1.2 |"
    assert len(rows) == len(ROWS)
    assert any("0.15 s | 0.20 s" in row for row in rows)
    assert any("not measured" in row for row in rows)


def test_who_is_better_than_phalanx_is_named_with_the_reason(tmp_path: Path) -> None:
    kept = kept_in(tmp_path / "peers.json", hcom_idle=0.1)
    page = results.page_of(kept, [Floor, Phalanx, Hcom], {"idle": "It tells the program itself."})
    better = page.split("## Where another is better")[1].split("##")[0]
    assert "a message to an idle agent: hcom (0.10 s); Phalanx 0.15 s. It tells the program itself." in better
    assert "exact" not in better


def test_a_difference_below_a_twentieth_makes_nobody_better(tmp_path: Path) -> None:
    kept = kept_in(tmp_path / "peers.json", hcom_idle=0.149)
    assert results.better_than_ours(kept, ["Phalanx", "hcom"], "idle") == []


def test_one_more_exact_text_makes_somebody_better(tmp_path: Path) -> None:
    kept = kept_in(tmp_path / "peers.json", hcom_texts=24)
    assert results.better_than_ours(kept, ["Phalanx", "hcom"], "texts") == ["hcom"]


def test_the_page_says_once_for_each_load_what_was_measured_under_it(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    busy = "Machine: one; load average 9.0 at the start; 2026-12-01."
    results.keep(Floor, "", {"spawn": Finding(words="1.00 s"), "idle": Finding(words="0.12 s")}, busy, path=path)
    results.keep(Hcom, "1.2", {"spawn": Finding(words="1.10 s")}, busy.replace("9.0", "0.5"), path=path)
    page = results.page_of(results.read(path), [Floor, Hcom], {})
    assert page.count("Machine: one") == 1
    assert "- load average 9.0 at the start; 2026-12-01: floor spawn, floor idle." in page
    assert "- load average 0.5 at the start; 2026-12-01: hcom spawn." in page


def kept_in(path: Path, *, hcom_idle: float = 0.2, hcom_texts: int = 22) -> dict[str, Any]:
    ours = {"idle": Finding(words="0.15 s", score=0.15), "texts": Finding(words="23", score=23)}
    theirs = {
        "idle": Finding(words=f"{hcom_idle:.2f} s", score=hcom_idle),
        "texts": Finding(words=str(hcom_texts), score=hcom_texts),
    }
    results.keep(Phalanx, "", ours, MACHINE, path=path)
    results.keep(Hcom, "1.2", theirs, MACHINE, path=path)
    return results.read(path)
