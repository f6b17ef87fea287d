"""What people and Claudes start must not pay for Ray: its import alone takes longer than the whole entry may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRY_MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "mcp_entry").rglob("*.py")
)
PRINT_LOADED = """\
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted(sys.modules), sep="\\n")
"""


@pytest.mark.parametrize("module", ENTRY_MODULES)
def test_a_module_of_the_entry_loads_no_ray(module: str) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", PRINT_LOADED, module], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()

    assert module in loaded
    assert "ray" not in loaded
