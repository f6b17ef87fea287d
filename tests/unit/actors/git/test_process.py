from __future__ import annotations

import pytest

from actors.git.process import GitOutput


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("", "exit status 3"),
        ("fatal: no\n", "fatal: no"),
        ("one\ntwo\n\nthree\nfour\n", "one; two; three; four"),
        ("\033[31mred\a\n", " [31mred "),
        ("x" * 900 + "y" * 900, "x" * 400 + " … " + "y" * 200),
    ],
)
def test_gits_complaint_fits_on_one_printable_line(error: str, words: str) -> None:
    assert GitOutput(status=3, output="", error=error).last_words == words
