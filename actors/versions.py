"""Which versions of Phalanx understand each other.

Processes of one team may be of several: an installation is replaced under a team that runs, or differs from host to
host. Client and supervisor, supervisor and actor name their protocol when they meet. With another one nothing is
done, and both sides say so in words. What is only new beside it (a field that need not be given, one more verb) leaves
the number as it is: who does not use it is understood by those before.
"""

from __future__ import annotations

from actors.errors import VersionError

PROTOCOL = 1
"""Of client and supervisor. Raised with each change of what crosses that border that one of the two sides cannot do
without."""
ACTOR_PROTOCOL = 3
"""Of supervisor and actor, likewise. Ray sends a value with the name of its class and module, so a class that is
renamed or moved is such a change."""
RENEW = (
    "`phalanx down`, then `phalanx up --resume` renews the team with what is installed now, and its agents go on with "
    "their conversations."
)


def check_protocol(theirs: int, ours_words: str, theirs_words: str, ours: int = PROTOCOL) -> None:
    """Raises ``VersionError`` for another protocol than ours."""
    if theirs != ours:
        raise VersionError(
            f"{theirs_words} and {ours_words} do not understand each other (protocols {theirs} and {ours}): "
            f"different versions of Phalanx. Nothing was done. {RENEW} Programs that have run since before an "
            "installation was replaced, such as the entry of a Claude, are to be started anew."
        )
