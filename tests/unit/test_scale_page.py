from __future__ import annotations

from pathlib import Path

from scripts.benchmarks.scale import filled_in

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_on_scale_says_what_was_measured_last() -> None:
    page = (ROOT / "docs/scale.md").read_text()
    assert filled_in(page, ROOT / "docs/performance") == page
    assert "**first limit**" in page


def test_a_page_without_measurements_is_left_as_it_is(tmp_path: Path) -> None:
    assert filled_in("words", tmp_path) == "words"
