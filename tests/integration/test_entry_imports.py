"""What is started often must not pay for libraries that it does not need.

The entry must load no Ray, whose import alone takes longer than the whole entry may. An instance runs in a process
of its own, hundreds of times: beside Ray it loads the standard library and msgpack.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENTRY_MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "mcp_entry").rglob("*.py")
)
PRINT_NEWLY_LOADED = """\
import importlib, sys
for module in sys.argv[1:]:
    before = set(sys.modules)
    importlib.import_module(module)
    print(module, *(name for name in set(sys.modules) - before if "." not in name))
"""


def newly_loaded(*modules: str) -> dict[str, set[str]]:
    """For each module, imported in this order in a fresh process, the top-level packages that it brought in."""
    lines = subprocess.run(
        [sys.executable, "-c", PRINT_NEWLY_LOADED, *modules],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    return {line.split()[0]: set(line.split()[1:]) for line in lines}


def test_no_module_of_the_entry_loads_ray() -> None:
    loaded = newly_loaded(*ENTRY_MODULES)

    assert loaded.keys() == set(ENTRY_MODULES)
    assert [module for module, packages in loaded.items() if "ray" in packages] == []


def test_an_instance_loads_the_standard_library_and_msgpack_only() -> None:
    packages = newly_loaded("actors.instance")["actors.instance"] - set(sys.stdlib_module_names)

    # The compiled half of msgpack brings entries of its compiler along.
    assert {package for package in packages if "cython" not in package} == {"actors", "msgpack"}


SEND_AN_INSTANCE = """\
import sys
from ray import cloudpickle
from actors.actor import InstanceActor
sys.stdout.buffer.write(cloudpickle.dumps(InstanceActor.__ray_metadata__.modified_class))
"""
READ_AN_INSTANCE = """\
import sys
from ray import cloudpickle
received = cloudpickle.load(sys.stdin.buffer)
from ray.util import serialization_addons
class Context:
    def _register_cloudpickle_serializer(self, *_, **__): pass
serialization_addons.apply(Context())
print(received.__name__, *(name for name in sys.modules if sys.modules[name] is not None and "." not in name))
"""


def test_what_ray_loads_for_values_that_no_instance_gets_stays_out_of_its_process() -> None:
    def run(program: str, given: bytes) -> bytes:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, input=given, stdout=subprocess.PIPE, check=True
        )
        return done.stdout

    name, *loaded = run(READ_AN_INSTANCE, run(SEND_AN_INSTANCE, b"")).decode().split()
    assert name == "Seat"
    assert not {"pydantic", "pydantic_core", "starlette", "anyio"} & set(loaded)
