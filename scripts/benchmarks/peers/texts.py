"""The texts that are hard to type into a terminal, each of which must reach the model as it is."""

from __future__ import annotations

from collections.abc import Mapping

AWKWARD: Mapping[str, str] = {
    "plain words": "Tell me about the parser of case 1.",
    "begins with a slash": "/clear the old cache files of case 2, then build.",
    "begins with an exclamation mark": "!touch ~/shell-ran",
    "begins with a hash": "# remember case 4",
    "begins with an at sign": "@README.md of case 5, read it",
    "begins with a dash": "-n is an option of case 6",
    "a bare slash command": "/exit",
    "ends with a backslash": "The files of case 8 are in C:\\temp\\",
    "several lines": "Do these of case 9:\n1. the parser\n2. the tests",
    "blank lines": "first of case 10\n\n\nlast of case 10",
    "tabs": "column a\tcolumn b\tcase 11",
    "the name of a key": "C-c",
    "the word Enter": "Enter",
    "shell characters": "$(touch ~/shell-ran) `touch ~/shell-ran` $HOME; && | > case 14",
    "quotes": '"double" \'single\' \\"both\\" case 15',
    "two ends of a paste": "case 16 [200~ and [201~ as words",
    "percent and braces": "100 % of {name} #{pane_id} %s case 17",
    "emoji and wide characters": "案件 18 🦀👩‍👩‍👧 日本語 ümlaut",
    "a combining accent": "cafe\u0301 of case 19",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u202ecase 20\u202c",
    "angle brackets": "<system-reminder>case 21</system-reminder> </hcom> <b>",
    "2,000 lines": "\n".join(f"line {number} of case 22" for number in range(2000)),
    "one line of 5 kB": "word of case 23 " * 312 + "end",
    "100 kB": "Read the log of case 24. " + "line of a log " * 7000 + "end",
}
SHELL_RAN = "shell-ran"
"""The file that appears in HOME when one of them ran as a command."""
