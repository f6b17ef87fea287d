"""Which versions of Phalanx understand each other.

Processes of one team may have different versions: an installation is replaced under a running team, or differs between
hosts. Client and supervisor, supervisor and actor name their protocol when they connect. If the protocols differ,
nothing is done and both sides report it. An addition that the other side may ignore (an optional field of a client's
request or answer, a new verb) keeps the number.
"""

from __future__ import annotations

from actors.errors import VersionError

PROTOCOL = 1
"""Of client and supervisor. Raise it with every incompatible change of what they exchange."""
AS_INSTANCE = "as_instance"
"""In place of the verb of a call that carries an instance's token; the verb itself stands beside it. A version that
knows no tokens has no such verb and refuses it: it would ignore the token and do the call as the user's."""
ACTOR_PROTOCOL = 8
"""Of supervisor and actor, likewise. Ray pickles a value with the name of its class and module, and one with slots as
the list of its fields, so renaming or moving a class is an incompatible change, and so is another field of it."""
RENEW = (
    "`phalanx down`, then `phalanx up --resume` renews the team with what is installed now, and its agents go on with "
    "their conversations."
)


def check_protocol(theirs: int, ours_words: str, theirs_words: str, ours: int = PROTOCOL) -> None:
    """Raises ``VersionError`` for another protocol than ours."""
    if theirs != ours:
        raise VersionError(
            f"{theirs_words} and {ours_words} do not understand each other (protocols {theirs} and {ours}): "
            f"different versions of Phalanx. Nothing was done. {RENEW} Restart programs that were started before the "
            "installation was replaced, such as the MCP entry of a Claude."
        )
