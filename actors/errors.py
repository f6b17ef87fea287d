"""Every error that Phalanx raises on purpose.

Each error's text tells the caller, a person or Claude, what happened and what to do. ``code`` is the stable name that
crosses process borders (see ``to_wire`` and ``from_wire``). Arguments are positional only, because Ray pickles errors.

::

    PhalanxError
    ├── InvalidRequestError        the request cannot be fulfilled; nothing was done
    │   ├── UnknownInstanceError
    │   ├── RefusedError           the role of the calling instance does not allow it
    │   └── WrongStateError        the state does not allow it now (a message to a stopped instance)
    ├── SettingsError              a setting or the home is not usable
    ├── TeamNotRunningError        no supervisor answers in this home
    ├── VersionError               the versions of the two sides are incompatible; nothing was done
    ├── WorkspaceError             git or the file system refused
    ├── TerminalError              tmux refused or does not answer
    │   └── PaneGoneError
    │       └── SocketGoneError    tmux's socket is missing, though its server may still run
    ├── StoreError                 the team's state could not be read or written; nothing was half-written
    │   ├── StateHeldError         another supervisor has this state
    │   ├── StateLostError         the state is gone while agents of the home still run
    │   └── FencedError            another supervisor took the state over; this one can no longer write
    ├── AgentError                 the agent could not be started or ended unexpectedly
    └── UnavailableError           a part did not answer in time; the call may be repeated
        └── TooManyCallsError      so many run already that this one was not begun
"""

from __future__ import annotations

from typing import ClassVar


class PhalanxError(Exception):
    code: ClassVar[str] = "internal"


class InvalidRequestError(PhalanxError):
    code = "invalid_request"


class UnknownInstanceError(InvalidRequestError):
    code = "unknown_instance"


class RefusedError(InvalidRequestError):
    code = "refused"


class WrongStateError(InvalidRequestError):
    code = "wrong_state"


class SettingsError(PhalanxError):
    code = "settings"


class TeamNotRunningError(PhalanxError):
    code = "team_not_running"


class VersionError(PhalanxError):
    code = "version"


class WorkspaceError(PhalanxError):
    code = "workspace"


class TerminalError(PhalanxError):
    code = "terminal"


class PaneGoneError(TerminalError):
    code = "pane_gone"


class SocketGoneError(PaneGoneError):
    code = "socket_gone"


class StoreError(PhalanxError):
    code = "store"


class StateHeldError(StoreError):
    code = "state_held"


class StateLostError(StoreError):
    code = "state_lost"


class FencedError(StoreError):
    code = "fenced"


class AgentError(PhalanxError):
    code = "agent"


class UnavailableError(PhalanxError):
    code = "unavailable"


class TooManyCallsError(UnavailableError):
    code = "too_many_calls"


def _tree(cls: type[PhalanxError]) -> dict[str, type[PhalanxError]]:
    found = {cls.code: cls}
    for child in cls.__subclasses__():
        found.update(_tree(child))
    return found


_BY_CODE = _tree(PhalanxError)


def to_wire(error: PhalanxError) -> dict[str, str]:
    """``{"code", "message"}``, as the gateway sends it."""
    return {"code": error.code, "message": str(error)}


def from_wire(wire: dict[str, str]) -> PhalanxError:
    """The inverse of ``to_wire``; an unknown code becomes a plain ``PhalanxError``."""
    return _BY_CODE.get(wire["code"], PhalanxError)(wire["message"])
