"""The endpoint's process: begun, found again, replaced when it dies, and ended with its team."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from actors.agents.base import LaunchRequest
from actors.agents.claude import mcp_file, mcp_text
from actors.files import FileLock
from actors.home import Home
from actors.host.endpoint import TeamEndpoint, endpoint_runs, listen_at_kept_port, url_at
from actors.marks import ENDPOINT_MARK, INSTANCE_MARK
from actors.processes import is_running
from mcp_entry.cli.doctor import examine
from mcp_entry.cli.session import system_context
from supervisor.api.requests import Request, SendRequest
from supervisor.api.results import Result
from supervisor.api.verbs import Caller
from supervisor.rpc.server import Gateway
from tests.integration.mcp_entry.conftest import ROOT
from tests.integration.rpc.conftest import ScriptedVerbs
from tests.integration.web.conftest import (
    LIST_TOOLS,
    SENT,
    TOKEN,
    exchange,
    of_endpoint,
    port_of,
    request,
    send_message,
    the_process,
    until,
)


async def test_it_takes_connections_at_once_and_serves_them_when_it_has_started(
    endpoint: TeamEndpoint, home: Home
) -> None:
    async with asyncio.timeout(2.0):
        port = port_of(await endpoint.ensure())
    status, answer = await exchange(port, request(LIST_TOOLS))
    assert status == 200
    assert {tool["name"] for tool in json.loads(answer)["result"]["tools"]} == {"send", "read", "list", "git_batch"}
    assert json.loads(home.web_file.read_text()) == {"port": port}
    assert endpoint_runs(home)


async def test_it_reaches_the_team_in_the_name_of_the_instance(endpoint: TeamEndpoint, verbs: ScriptedVerbs) -> None:
    tokens: list[str | None] = []

    async def send(_request: Request, caller: Caller) -> Result:
        tokens.append(caller.token)
        return SENT

    verbs.answers["send"] = send
    status, answer = await exchange(port_of(await endpoint.ensure()), send_message("It is done."))
    assert status == 200
    assert "isError" not in json.loads(answer)["result"]
    assert tokens == [TOKEN]


async def test_a_killed_one_is_back_at_the_same_port_and_meanwhile_no_connection_is_refused(
    endpoint: TeamEndpoint, home: Home
) -> None:
    port = port_of(await endpoint.ensure())
    assert (await exchange(port, request(LIST_TOOLS)))[0] == 200
    for _ in range(2):
        killed = the_process(home)
        killed.kill()
        await until(lambda: not is_running(killed))  # noqa: B023 - awaited here
        status, _ = await exchange(port, request(LIST_TOOLS))
        assert status == 200
        assert the_process(home) != killed
    assert port_of(await endpoint.ensure()) == port


async def test_a_new_keeper_adopts_the_process_that_runs(orphan: subprocess.Popen[bytes], home: Home) -> None:
    endpoint = TeamEndpoint(home)
    port = port_of(await endpoint.ensure())
    assert json.loads(home.web_file.read_text()) == {"port": port}
    assert the_process(home).pid == orphan.pid

    orphan.kill()
    await until(lambda: orphan.poll() is not None)
    status, _ = await exchange(port, request(LIST_TOOLS))
    assert status == 200
    assert len(of_endpoint(home)) == 1
    await endpoint.end()
    assert of_endpoint(home) == []


async def test_one_that_hangs_is_replaced_when_it_is_adopted(orphan: subprocess.Popen[bytes], home: Home) -> None:
    orphan.send_signal(signal.SIGSTOP)
    endpoint = TeamEndpoint(home)
    port = port_of(await endpoint.ensure())
    assert (await exchange(port, request(LIST_TOOLS)))[0] == 200
    assert orphan.poll() == -signal.SIGKILL
    await endpoint.end()


async def test_one_that_is_only_just_starting_is_ended_too(home: Home, gateway: Gateway) -> None:
    endpoint = TeamEndpoint(home)
    await endpoint.ensure()
    await endpoint.end()
    assert of_endpoint(home) == []


async def test_it_ends_by_itself_when_the_team_was_brought_down(
    endpoint: TeamEndpoint, gateway: Gateway, home: Home
) -> None:
    port = port_of(await endpoint.ensure())
    assert (await exchange(port, request(LIST_TOOLS)))[0] == 200
    process = the_process(home)
    home.team_file.unlink()
    await gateway.stop()
    await until(lambda: not is_running(process))
    assert "ends: the team was brought down" in (home.logs / "web.log").read_text()


async def test_a_call_that_a_restart_of_the_supervisor_takes_along_is_only_slow_and_is_done_once(
    endpoint: TeamEndpoint, gateway: Gateway, home: Home, verbs: ScriptedVerbs
) -> None:
    begun, asked = asyncio.Event(), []

    async def send(sent: Request, _caller: Caller) -> Result:
        assert isinstance(sent, SendRequest)
        asked.append(sent.request_id)
        begun.set()
        if len(asked) == 1:
            await asyncio.Event().wait()
        return SENT

    verbs.answers["send"] = send
    port = port_of(await endpoint.ensure())
    call = asyncio.create_task(exchange(port, send_message("It is done.", "toolu_1")))
    await begun.wait()
    await gateway.stop()
    again = Gateway(home.gateway_socket, verbs)
    await again.start()
    status, answer = await call
    await again.stop()
    assert status == 200
    assert "isError" not in json.loads(answer)["result"]
    assert len(asked) == 2
    assert len(set(asked)) == 1


async def test_nothing_secret_is_in_its_command_line_its_log_or_a_file_that_others_can_read(
    endpoint: TeamEndpoint, home: Home
) -> None:
    port = port_of(await endpoint.ensure())
    await exchange(port, send_message("a secret message"))
    await exchange(port, request({"no": "message"}))
    await exchange(port, request(LIST_TOOLS, token="x" * 43))
    process = the_process(home)
    log = home.logs / "web.log"
    for text in (" ".join(process.cmdline()), json.dumps(process.environ()), log.read_text()):
        assert TOKEN not in text
        assert "a secret message" not in text
        assert "x" * 43 not in text
    for path in (log, home.web_file, home.web_socket, home.web_lock_file):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_port_that_somebody_else_has_is_not_taken(home: Home, gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        home.web_file.write_text(json.dumps({"port": taken}))
        endpoint = TeamEndpoint(home)
        port = port_of(await endpoint.ensure())
        assert port != taken
        assert (await exchange(port, request(LIST_TOOLS)))[0] == 200
        assert json.loads(home.web_file.read_text()) == {"port": port}
        await endpoint.end()


async def test_one_that_an_actor_has_started_before_it_died_keeps_the_port_though_it_serves_only_later(
    home: Home, gateway: Gateway
) -> None:
    with listen_at_kept_port(home) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        program = (sys.executable, "-m", "mcp_entry.web", "--listener", str(number))
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            ("sh", "-c", 'sleep 1; exec "$@"', "sh", *program),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PHALANX_HOME": str(home.root), ENDPOINT_MARK: str(home.root)},
            pass_fds=[number],
            start_new_session=True,
        )
    endpoint = TeamEndpoint(home)
    found = port_of(await endpoint.ensure())
    assert (await exchange(port, request(LIST_TOOLS)))[0] == 200
    await endpoint.end()
    process.wait(10)
    assert found == port
    assert json.loads(home.web_file.read_text()) == {"port": port}


def test_the_kernel_gives_its_port_to_no_connection_while_nobody_holds_it(home: Home) -> None:
    first_of_connections = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with listen_at_kept_port(home) as listener:
        port = listener.getsockname()[1]
    assert port < first_of_connections
    with listen_at_kept_port(home) as again:
        assert again.getsockname()[1] == port


def test_a_home_without_a_port_chooses_none_that_somebody_has(home: Home) -> None:
    with listen_at_kept_port(home) as first:
        port = first.getsockname()[1]
    home.web_file.unlink()
    with socket.create_server(("127.0.0.1", port)), listen_at_kept_port(home) as second:
        assert second.getsockname()[1] != port


async def test_a_home_whose_port_file_is_damaged_gets_a_port(home: Home, gateway: Gateway) -> None:
    for text in ("", "[]", '{"port": 99999999}'):
        home.web_file.write_text(text)
        endpoint = TeamEndpoint(home)
        assert (await exchange(port_of(await endpoint.ensure()), request(LIST_TOOLS)))[0] == 200
        await endpoint.end()


def test_a_second_process_of_a_home_ends_at_once(home: Home) -> None:
    first = FileLock(home.web_lock_file)
    assert first.try_acquire()
    environment = {"PATH": os.environ["PATH"], "PHALANX_HOME": str(home.root)}
    command = [sys.executable, "-m", "mcp_entry.web"]
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=120, check=False)
    first.release()
    assert done.returncode == 0
    assert not home.web_socket.exists()


async def test_the_doctor_lists_where_it_listens_and_for_what(endpoint: TeamEndpoint, home: Home) -> None:
    port = port_of(await endpoint.ensure())
    await until(lambda: endpoint_runs(home))
    findings = await asyncio.to_thread(lambda: list(examine(home, system_context())))
    (listens,) = [each for each in findings if each.what == "listens"]
    assert listens.state == "ok"
    pid = the_process(home).pid
    assert (
        listens.found
        == f"127.0.0.1:{port} (process {pid}): the tools of the instances, each by its token, and the page, by its link"
    )


def test_the_doctor_names_the_agents_that_still_know_another_address_and_run(home: Home) -> None:
    home.web_file.write_text(json.dumps({"port": 20_002}))
    with ExitStack() as stack:
        for place, instance_id, port, runs in (
            ("spec_1_1", "spec_1_1", 20_001, True),
            ("spare_1", "spec_1_2", 20_001, True),  # made of a spare agent
            ("spare_2", "spare_2", 20_001, True),
            ("spec_1_3", "spec_1_3", 20_002, True),
            ("spec_1_4", "spec_1_4", 20_001, False),
            ("spec_1_5", "spec_1_5", 0, True),  # has no tools of the team
        ):
            directory = home.instance_directory(place)
            directory.mkdir()
            (directory / "launch-request.json").write_text(json.dumps({"request": {"instance_id": instance_id}}))
            if port:
                launch = LaunchRequest(
                    instance_id=instance_id,
                    session_id="",
                    resume=False,
                    instance_directory=directory,
                    system_prompt="",
                    token=TOKEN,
                    team_url=url_at(port),
                )
                mcp_file(directory).write_text(mcp_text(launch))
            if runs:
                agent = stack.enter_context(subprocess.Popen(["sleep", "60"], env={INSTANCE_MARK: str(directory)}))
                stack.callback(agent.kill)
        found = [each for each in examine(home, system_context()) if each.what == "tools"]
    before = "from before the address of the team's tools became http://127.0.0.1:20002/mcp"
    assert [each.found for each in found] == [f"{before}: spec_1_1, spec_1_2", f"{before}: spare agents (1)"]
    assert {each.state for each in found} == {"note"}
    assert "`phalanx restart spec_1_1 spec_1_2`" in found[0].remedy
    assert "`phalanx prewarm 0`" in found[1].remedy
