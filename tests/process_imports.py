"""What each kind of process of a team loads when it starts: a program for each that loads the same and tells of it.

Tests hold what each may load; ``scripts/benchmarks/process_starts.py`` measures what it costs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parent.parent

_HELP = """\
import contextlib, io, sys
from mcp_entry.launch import phalanx
sys.argv = ["phalanx", "--help"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    phalanx()
"""
_EVERYDAY = """\
import mcp_entry.cli.app, mcp_entry.cli.instances
from supervisor.api.verbs import TeamVerbs
for verb in (TeamVerbs.send, TeamVerbs.list, TeamVerbs.read, TeamVerbs.wait, TeamVerbs.respond, TeamVerbs.interrupt):
    verb.request, verb.result
"""
_TELL = """
import sys
names = sorted(name for name in sys.modules if sys.modules[name] is not None)
with open("/proc/self/status") as status:
    rss_kb = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
print(rss_kb, *names)
"""
_SEND_AN_INSTANCE = """\
import sys
from ray import cloudpickle
from actors.instance.actor import InstanceActor
sys.stdout.buffer.write(cloudpickle.dumps(InstanceActor.__ray_metadata__.modified_class))
"""
_READ_AN_INSTANCE = """\
import sys
import ray
from ray import cloudpickle
received = cloudpickle.load(sys.stdin.buffer)
from ray.util import serialization_addons
class Context:
    def _register_cloudpickle_serializer(self, *_, **__): pass
serialization_addons.apply(Context())
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of process: the interpreter's options and a program that loads what the process loads, and runs nothing.

    ``gives`` is a program whose output the other one reads.
    """

    program: str
    options: tuple[str, ...] = ("-P",)
    gives: str = ""


def _module(name: str) -> Kind:
    return Kind(f"import {name}")


def _file(path: str, *options: str) -> Kind:
    """A program that is started by its path."""
    where = str(ROOT / path)
    return Kind(
        f"exec(compile(open({where!r}).read(), {where!r}, 'exec'), {{'__name__': 'it', '__file__': {where!r}}})",
        options,
    )


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "hook": _file("actors/agents/hook.py", "-I", "-S"),
        "launcher": _file("actors/agents/launcher.py", "-I", "-S"),
        "demo agent": _file("actors/agents/demo/__main__.py", "-I", "-S"),
        "instance, without Ray": _module("actors.instance.instance"),
        "instance": Kind(_READ_AN_INSTANCE, gives=_SEND_AN_INSTANCE),
        "host": _module("actors.host.actor"),
        "supervisor": _module("supervisor.actor"),
        "boot": _module("supervisor.boot"),
        "leaving": _module("supervisor.leaving"),
        "runtime": _module("supervisor.runtime.__main__"),
        "node": _module("supervisor.ray_node"),
        "other nodes": _module("supervisor.stop_other_nodes"),
        "entry": _module("mcp_entry.__main__"),
        "endpoint": _module("mcp_entry.web.__main__"),
        "served command": _module("mcp_entry.launch, mcp_entry.cli.command_call"),
        "phalanx --help": Kind(_HELP),
        "everyday command": Kind(_EVERYDAY),
        "command": _module("mcp_entry.cli.team"),
        "top": _module("mcp_entry.top.app"),
        "client": _module("supervisor.rpc.client"),
        "Redis probe": _file("mcp_entry/cli/redis_probe.py", "-P"),
    }
)


@dataclass(frozen=True, slots=True)
class Start:
    """What one process had loaded, and its memory, when it was about to run."""

    modules: Sequence[str]
    rss_kb: int

    @property
    def packages(self) -> set[str]:
        """Top-level names; not those of this project and of the program itself."""
        tops = {name.partition(".")[0] for name in self.modules}
        return tops - {"actors", "supervisor", "mcp_entry", "__main__", "__mp_main__"}


def start(kind: Kind, given: bytes = b"") -> Start:
    words = [sys.executable, *kind.options, "-c", kind.program + _TELL]
    # "-P" leaves the checkout out of the path; "-I" leaves out what this adds, as it does for the real program.
    done = subprocess.run(
        words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, input=given, stdout=subprocess.PIPE, timeout=60, check=True
    )
    rss_kb, *modules = done.stdout.decode().split()
    return Start(modules, int(rss_kb))


def given_to(kind: Kind) -> bytes:
    """What a process of this kind reads when it starts."""
    if not kind.gives:
        return b""
    words = [sys.executable, "-P", "-c", kind.gives]
    return subprocess.run(
        words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, timeout=60, check=True
    ).stdout
