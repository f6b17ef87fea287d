"""Names and revisions that callers give, checked before git sees them: none can become an option or a line of its own.

The rules for names are those of ``git check-ref-format``.
"""

from __future__ import annotations

import re

_NOT_IN_NAMES = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)")
_NOT_IN_REVISIONS = re.compile(r"[\x00-\x1f\x7f]")


def check_name(name: str) -> str:
    """A branch's or tag's. Raises ``ValueError``."""
    if _NOT_IN_NAMES.search(name) or name.startswith(("-", "/", ".")) or name.endswith(("/", ".")):
        raise ValueError("git allows no such name")
    if name in ("@", "HEAD"):
        raise ValueError("that name means something else to git")
    if _has_surrogates(name):
        raise ValueError("git takes valid text only")
    return name


def check_revision(revision: str) -> str:
    """Whatever git takes for a commit. Raises ``ValueError``."""
    if revision.startswith("-") or _NOT_IN_REVISIONS.search(revision) or _has_surrogates(revision):
        raise ValueError("that is no name of a commit")
    return revision


def check_file(name: str) -> str:
    """Relative to the directory of the operation. Raises ``ValueError``."""
    if "\0" in name or _has_surrogates(name):
        raise ValueError("that is no name of a file")
    return name


def base_of(revision: str) -> str:
    """The name that a revision begins with: of ``main~2`` it is ``main``."""
    return re.split(r"[~^@:]", revision, maxsplit=1)[0]


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
