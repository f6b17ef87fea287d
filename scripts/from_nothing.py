"""What ``scripts/from-nothing`` does: installs from a fresh checkout as a new user would, and leads a team.

Two commands are a person's: the one that installs, and ``phalanx lead``. The times are those of the clock. It exits
with 1 when a step fails or all of it takes longer than a minute, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.home import Home
from actors.status import IDLE, Status
from supervisor.api.requests import ReadRequest, SendRequest, WaitRequest
from supervisor.rpc.client import SupervisorClient
from tests.people import PtyPerson
from tests.projects import make_repository
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

ROOT = Path(__file__).resolve().parent.parent
CLAUDE = ROOT / ".venv/claude/newest/node_modules/.bin/claude"
MOST_S = 60.0
_STEP_S = 300.0
_POLL_S = 0.1
_OF_THE_NETWORK = ("PIP_", "UV_", "SSL_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")
"""How a person's shell says where packages come from."""
_TEAM = 2


class FailedError(Exception):
    """A step did not come to its end; the text says which and what was seen."""


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    took_s: float


def install_command(installer: str, python: str, home: Path) -> tuple[str, Path]:
    """The line that a person types in a checkout, and where it puts ``phalanx``."""
    wheel, interpreter = '"$(scripts/wheel)"', shlex.quote(python)
    match installer:
        case "uv":
            return f"uv tool install --python {interpreter} {wheel}", home / ".local/bin"
        case "pipx":
            return f"pipx install --python {interpreter} {wheel}", home / ".local/bin"
        case _:
            return f"{interpreter} -m venv ~/phalanx && ~/phalanx/bin/pip install {wheel}", home / "phalanx/bin"


def environment_of(home: Path, bin_directory: Path, installer: str) -> dict[str, str]:
    """Of a shell on a fresh machine, with Claude Code on its PATH, and the installer if it is none of Debian's."""
    programs = home.parent / "bin"
    programs.mkdir()
    (programs / "claude").symlink_to(CLAUDE)
    if installer != "pip":
        found = shutil.which(installer)
        if found is None:
            raise FailedError(f"{installer} is not on PATH: install it, or choose another one by --with.")
        (programs / installer).symlink_to(found)
    kept = {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_NETWORK)}
    node = str(Path(shutil.which("node") or "/usr/bin/node").parent)
    path = ":".join([str(bin_directory), str(programs), "/usr/bin", "/bin", node])
    return {**kept, "HOME": str(home), "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}


def run(command: str, environment: Mapping[str, str], directory: Path) -> None:
    """Raises ``FailedError`` with the end of what it said."""
    ended = subprocess.run(
        ["sh", "-c", command],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=_STEP_S,
        check=False,
    )
    if ended.returncode:
        raise FailedError(f"`{command}` ended with {ended.returncode}:\n{(ended.stdout + ended.stderr)[-2000:]}")


@contextmanager
def timed(name: str, steps: list[Step]) -> Iterator[None]:
    begun = time.monotonic()
    yield
    steps.append(told(name, begun))


def told(name: str, begun: float) -> Step:
    step = Step(name, time.monotonic() - begun)
    print(f"{step.took_s:6.1f} s  {name}", flush=True)
    return step


def until(condition: Callable[[], bool], what: str, shown: Callable[[], str]) -> None:
    deadline = time.monotonic() + _STEP_S
    while not condition():
        if time.monotonic() > deadline:
            raise FailedError(f"Not within {_STEP_S:.0f} s: {what}.\n{shown()}")
        time.sleep(_POLL_S)


async def build_a_team(home: Home, repository: Path) -> None:
    """As the person at the lead's terminal: asks it for a team, and waits for that."""
    member = {"role": "specialist", "workDir": str(repository), "context": "Say hello."}
    call = json.dumps({"instances": [member] * _TEAM})
    async with await SupervisorClient.connect(home, sender="operator") as client:
        (lead,) = (await client.list()).instances
        message = f"Build a team of {_TEAM}.\n@@tool mcp__phalanx-team__spawn_batch {call}"
        await client.send(SendRequest(instance_id=lead.instance_id, message=message, wait=True))
        await client.wait(WaitRequest(instance_ids=[lead.instance_id], timeout_seconds=_STEP_S))
        below = [each for each in (await client.list()).instances if each.parent_id == lead.instance_id]
        if len(below) != _TEAM or any(each.status not in IDLE | {Status.BUSY} for each in below):
            answers = await client.read(ReadRequest(instance_id=lead.instance_id))
            raise FailedError(f"The lead has built no team of {_TEAM}: {[entry.text for entry in answers.entries]}")


def fresh_checkout(to: Path) -> Path:
    """The files of this checkout as a clone would have them, with what is changed and not committed."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=_STEP_S, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    subprocess.run(["git", "init", "-q", to], timeout=_STEP_S, check=True)
    return to


def from_nothing(installer: str, python: str, scratch: Path) -> list[Step]:
    """Raises ``FailedError``. Whatever came up is brought down again."""
    steps: list[Step] = []
    user = make_claude_home(scratch / "u")
    checkout = fresh_checkout(scratch / "checkout")
    install, bin_directory = install_command(installer, python, user)
    with ApiStandIn() as api:
        environment = {
            **environment_of(user, bin_directory, installer),
            **standin_environment(api.url, user),
        }
        repository = make_repository(scratch / "project")
        home = Home(user / ".phalanx")
        print(f"         $ {install}", flush=True)
        with timed("installed", steps):
            run(install, environment, checkout)
        print("         $ phalanx lead ~/project", flush=True)
        try:
            begun = time.monotonic()
            alone = ("env", "-i", *(f"{name}={value}" for name, value in environment.items()))
            with PtyPerson((*alone, "phalanx", "lead", str(repository)), 100, 30) as person:
                until(lambda: "To come back" in said(person), "the lead at its prompt", lambda: said(person))
                steps.append(told("a Claude that leads, at its prompt", begun))
                with timed(f"a team of {_TEAM} below it", steps):
                    asyncio.run(build_a_team(home, repository))
        finally:
            run("phalanx down", environment, scratch)
    return steps


def said(person: PtyPerson) -> str:
    return person.seen.decode(errors="replace")[-4000:]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--with", dest="installer", choices=("pip", "uv", "pipx"), default="pip")
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter of the fresh machine")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="phx", dir="/tmp", ignore_cleanup_errors=True) as directory:
        scratch = Path(directory)
        print(f"From nothing, with {options.installer} and {options.python}:", flush=True)
        try:
            steps = from_nothing(options.installer, options.python, scratch)
        except (FailedError, subprocess.SubprocessError, TimeoutError) as failure:
            print(f"from-nothing: {failure}", file=sys.stderr)
            return 1
    took_s = sum(step.took_s for step in steps)
    print(f"{took_s:6.1f} s  in all")
    return 0 if took_s <= MOST_S else 1


if __name__ == "__main__":
    sys.exit(main())
