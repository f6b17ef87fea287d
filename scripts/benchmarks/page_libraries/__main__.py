"""What the library of the page costs: Preact, which it uses, beside Lit, on the same list of a hundred rows.

``python -m scripts.benchmarks.page_libraries`` builds both with the same options, opens each in Chromium in turn, and
prints the sizes and the lowest times of the runs, because load only lengthens them: drawing the list, and changing one
row of it, each with its layout. It installs the packages of ``package.json`` beside this file into a temporary
directory and needs npm and Chromium (``TEST_CHROMIUM``, /usr/bin/chromium by default).
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright
from rich.console import Console
from rich.table import Table

_HERE = Path(__file__).parent
_SOURCES = {"preact": "preact.jsx", "lit": "lit.js"}
_INSTALL_S = 300
_BUILD_S = 60
_RUNS = 15


def build(directory: Path) -> dict[str, str]:
    """The script with each library, minified. Raises ``CalledProcessError`` when npm or esbuild fails."""
    for source in _HERE.iterdir():
        if source.is_file():
            shutil.copy(source, directory)
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(install, cwd=directory, check=True, timeout=_INSTALL_S)
    scripts = {}
    for name, entry in _SOURCES.items():
        built = directory / f"{name}.bundle.js"
        options = ["--bundle", "--minify", "--format=esm", "--jsx=automatic", "--jsx-import-source=preact"]
        command = ["node_modules/.bin/esbuild", entry, *options, f"--outfile={built}", "--log-level=warning"]
        subprocess.run(command, cwd=directory, check=True, timeout=_BUILD_S)
        scripts[name] = built.read_text()
    return scripts


async def measure(browser: Browser, script: str) -> dict[str, Any]:
    """Times in ms of one run in a fresh page."""
    page = await browser.new_page()
    try:
        await page.set_content("<!doctype html><title>rows</title><body></body>")
        await page.add_script_tag(content=script, type="module")
        await page.wait_for_function("globalThis.measured", timeout=30_000)
        measured: dict[str, Any] = await page.evaluate("globalThis.measured")
    finally:
        await page.close()
    if measured["rows"] != 100:
        raise RuntimeError(f"The page shows {measured['rows']} rows of 100")
    return measured


async def compare(scripts: dict[str, str], runs: int) -> dict[str, list[dict[str, Any]]]:
    """In turn, so that the load of the machine meets both alike."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in scripts}
    async with async_playwright() as playwright:
        chromium = os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium")
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(runs):
            for name, script in scripts.items():
                found[name].append(await measure(browser, script))
        await browser.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares libraries for the page.")
    parser.add_argument("--runs", type=int, default=_RUNS)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as directory:
        scripts = build(Path(directory))
    found = asyncio.run(compare(scripts, runs))
    table = Table("library", "bytes", "gzipped", "first drawing (ms)", "change of one row (ms)")
    for name, script in scripts.items():
        sizes = (len(script.encode()), len(gzip.compress(script.encode())))
        times = (min(run[what] for run in found[name]) for what in ("first", "update"))
        table.add_row(name, *map(str, sizes), *(f"{ms:.2f}" for ms in times))
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
