"""Claude Code on the hosts of a rig, with a stand-in of its API on the loopback of each."""

from __future__ import annotations

from tests.cluster.rig import RigHost, login_home
from tests.standin.claude_home import make_claude_home, standin_environment

_PORT = 8377
_SERVE = f"""
cd phalanx
PYTHONPATH=. setsid .venv/bin/python -m tests.standin.api --port {_PORT} >/tmp/standin.log 2>&1 </dev/null &
"""


def provide_claude(host: RigHost) -> None:
    """As an operator does before Ray is started there: the login shell knows the credentials, Claude is set up."""
    make_claude_home(host.home)
    given = standin_environment(f"http://127.0.0.1:{_PORT}", login_home())
    profile = host.home / ".profile"
    profile.touch(mode=0o600)
    profile.write_text("".join(f"export {name}={value}\n" for name, value in given.items() if name != "HOME"))


def serve_standin(host: RigHost) -> None:
    """Until the host loses its power."""
    host.ssh("sh", "-c", _SERVE)
