"""The page's server as a browser meets it: signing in, the streams, the calls, and what happens when parts die."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from actors.errors import RefusedError, UnknownInstanceError, WrongStateError
from actors.home import Home
from actors.host.endpoint import TeamEndpoint
from actors.processes import is_running
from mcp_entry.web.sign_in import make_link
from supervisor.api.requests import ListRequest, Request, ScreenRequest, SendRequest, TypeRequest
from supervisor.api.results import InstanceInfo, ListResult, Result, ScreenResult, TypeResult, WorkInfo
from supervisor.api.verbs import Caller
from supervisor.rpc.server import Gateway
from tests.fakes.gateway import info
from tests.integration.rpc.conftest import ScriptedVerbs, gives
from tests.integration.web.conftest import SENT, port_of, the_process, until
from tests.integration.web.page import Browser, ScriptedTeam, heard

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202eevil\u2066 \u2028 </script>"


@pytest.fixture
def team(verbs: ScriptedVerbs) -> ScriptedTeam:
    return ScriptedTeam(verbs, [info("spec_1"), info("spec_2")])


@pytest.fixture
async def browser(endpoint: TeamEndpoint, team: ScriptedTeam, home: Home) -> AsyncIterator[Browser]:
    browser = Browser(port_of(await endpoint.ensure()))
    assert (await browser.sign_in(home)).status_code == 303
    yield browser
    await browser.client.aclose()


async def test_a_link_signs_a_browser_in_and_leads_it_to_the_page(
    endpoint: TeamEndpoint, team: ScriptedTeam, home: Home
) -> None:
    browser = Browser(port_of(await endpoint.ensure()))
    assert (await browser.client.get("/")).status_code == 401
    answer = await browser.sign_in(home)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    for word in ("httponly", "samesite=strict", "path=/"):
        assert word in cookie
    page = await browser.client.get("/")
    assert page.status_code in (200, 503)
    assert page.status_code == 200 or "scripts/page" in page.text
    await browser.client.aclose()


async def test_every_answer_forbids_what_the_page_does_not_need(browser: Browser) -> None:
    for path in ("/", "/sign-in", "/assets/x.js", "/api/work", "/api/nothing", "/mcp", "/metrics", "/nothing"):
        headers = (await browser.client.get(path)).headers
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_browser_that_follows_a_link_on_another_site_is_led_on_with_its_cookie(
    browser: Browser, home: Home
) -> None:
    other = Browser(browser.port)
    answer = await other.client.get("/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text
    assert (await other.client.get("/", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 401
    await other.client.aclose()


async def test_what_a_browser_fetches_in_advance_does_not_use_the_link_up(browser: Browser, home: Home) -> None:
    once = {"once": make_link(home)}
    for headers in ({"Sec-Purpose": "prefetch;prerender"}, {"Sec-Purpose": "prefetch"}):
        assert (await browser.client.get("/sign-in", params=once, headers=headers)).status_code == 503
    assert (await browser.client.head("/sign-in", params=once)).status_code == 503
    assert (await browser.client.get("/sign-in", params=once)).status_code == 303


async def _as_another_user(url: str, headers: Mapping[str, str], body: str = "") -> str:
    """What the server answers to a request of another user of the machine: the status and the text."""
    program = (
        "import json, sys, urllib.request, urllib.error\n"
        "url, headers, body = json.load(sys.stdin)\n"
        "request = urllib.request.Request(url, body.encode() or None, headers)\n"
        "try: answer = urllib.request.urlopen(request)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status, answer.readline().decode())"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        ["/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable, "-c", program],
        input=json.dumps([url, headers, body]),
        env={"no_proxy": "*"},
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout


@only_root
async def test_another_user_of_the_machine_cannot_use_the_link(browser: Browser, home: Home) -> None:
    link = f"{browser.own}/sign-in?once={make_link(home)}"
    answer = await _as_another_user(link, {})
    assert answer.startswith("403 ")
    assert "another user" in answer
    assert (await browser.client.get(link)).status_code == 303


@only_root
async def test_another_user_who_has_got_the_cookie_sees_and_does_nothing(
    browser: Browser, verbs: ScriptedVerbs
) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    writer.write(f"GET /api/team HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {cookie}\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    own_port = writer.get_extra_info("sockname")[1]
    headers = {"Cookie": cookie, "Origin": browser.own, "Content-Type": "application/json"}
    for pretended in ({}, {"X-Forwarded-For": f"127.0.0.1:{own_port}"}):
        for path in ("/", "/assets/page-AAAAAAAA.js", "/api/team", "/api/work", "/api/screen/spec_1"):
            assert (await _as_another_user(browser.own + path, headers | pretended)).startswith("401 "), path
        call = await _as_another_user(f"{browser.own}/api/call/interrupt", headers | pretended, "{}")
        assert call.startswith("401 ")
    writer.close()
    assert "interrupt" not in [verb for verb, _, _ in verbs.calls]
    assert (await browser.client.get("/api/work")).status_code == 200


async def test_the_stream_tells_all_rows_first_and_then_what_changes_and_happens(
    browser: Browser, team: ScriptedTeam
) -> None:
    async with browser.stream() as events:
        first = await heard(events, "changes")
        assert first["complete"]
        assert [row["instanceId"] for row in first["instances"]] == ["spec_1", "spec_2"]
        team.change("spec_2", needs_attention=True, reason=HOSTILE)
        changed = await heard(events, "changes")
        assert [row["instanceId"] for row in changed["instances"]] == ["spec_2"]
        assert changed["instances"][0]["reason"] == HOSTILE
        assert changed["needsAttention"] == ["spec_2"]
        team.happen(kind="became_idle", instance_id="spec_1", text=HOSTILE)
        happened = await heard(events, "happened")
    assert happened["missed"] == 0
    assert [each["text"] for each in happened["events"]] == [HOSTILE]


async def test_a_browser_that_comes_again_is_told_what_has_happened_since_the_event_that_it_names(
    browser: Browser, team: ScriptedTeam
) -> None:
    for text in ("heard", "missed", "missed too"):
        team.happen(kind="became_idle", instance_id="spec_1", text=text)
    async with browser.stream("/api/team?after=1") as events:
        happened = await heard(events, "happened")
    assert [each["text"] for each in happened["events"]] == ["missed", "missed too"]
    async with browser.stream("/api/team?after=x") as events:
        assert await heard(events, "changes")


async def test_a_browser_that_is_gone_before_anything_happens_is_told_of_what_does_when_it_comes_again(
    browser: Browser, team: ScriptedTeam
) -> None:
    team.happen(kind="became_idle", instance_id="spec_1", text="before")
    async with browser.stream() as events:
        opening = await heard(events, "happened")
    assert opening == {"events": [], "missed": 0, "last": 1}
    team.happen(kind="became_idle", instance_id="spec_1", text="meanwhile")
    async with browser.stream(f"/api/team?after={opening['last']}") as events:
        happened = await heard(events, "happened")
    assert [each["text"] for each in happened["events"]] == ["meanwhile"]


async def test_a_browser_that_comes_while_others_look_is_told_at_once_where_the_team_is(
    browser: Browser, team: ScriptedTeam
) -> None:
    async with browser.stream() as one:
        await heard(one, "happened")
        team.happen(kind="became_idle", instance_id="spec_1", text="first")
        assert (await heard(one, "happened"))["last"] == 1
        async with browser.stream() as two:
            assert await heard(two, "happened") == {"events": [], "missed": 0, "last": 1}
            team.happen(kind="became_idle", instance_id="spec_1", text="second")
            for events in (one, two):
                assert [each["text"] for each in (await heard(events, "happened"))["events"]] == ["second"]


async def test_many_browsers_share_one_call_of_each_and_the_last_one_ends_them(
    browser: Browser, team: ScriptedTeam, gateway: Gateway
) -> None:
    async with browser.stream() as one:
        await heard(one, "changes")
        asked = len(team.asked)
        async with browser.stream() as two, browser.stream() as three:
            for events in (two, three):
                assert len((await heard(events, "changes"))["instances"]) == 2
            assert len(team.asked) <= asked + 2  # the next one of each may have begun
            team.change("spec_1", unread=3)
            for events in (one, two, three):
                assert (await heard(events, "changes"))["instances"][0]["unread"] == 3
    before = len(team.asked)
    team.change("spec_1", unread=4)
    async with browser.stream() as events:
        assert (await heard(events, "changes"))["instances"][0]["unread"] == 4
    assert len(team.asked) > before


async def test_a_browser_that_does_not_read_gets_the_whole_state_later_and_nothing_grows(
    browser: Browser, team: ScriptedTeam, home: Home
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port, limit=1)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    writer.write(f"GET /api/team HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {cookie}\r\n\r\n".encode())
    await writer.drain()
    async with browser.stream() as quick:
        await heard(quick, "changes")
        before = the_process(home).memory_info().rss
        for number in range(300):
            team.change("spec_1", unread=number, reason="x" * 200_000)
            assert (await heard(quick, "changes"))["instances"][0]["unread"] == number
        assert the_process(home).memory_info().rss - before < 40_000_000
    team.change("spec_1", unread=7_777)
    team.change("spec_2", unread=8_888)
    text = b""
    async with asyncio.timeout(30):
        while not (b'"unread":7777' in text and b'"unread":8888' in text):
            part = await reader.read(1 << 20)
            assert part, "the stream ended"
            text += part
    assert text.count(b"event: changes") < 200
    writer.close()


async def test_a_terminal_is_looked_at_for_as_long_as_somebody_looks(browser: Browser, verbs: ScriptedVerbs) -> None:
    asked: list[str | None] = []
    waits, left = asyncio.Event(), asyncio.Event()

    async def screen(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, ScreenRequest)
        asked.append(request.after)
        if len(asked) > 3:
            waits.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()
        return ScreenResult(
            instance_id="spec_1", version=f"v{len(asked)}", columns=80, rows=1, lines=[HOSTILE], title=HOSTILE
        )

    verbs.answers["screen"] = screen
    async with browser.stream("/api/screen/spec_1") as events:
        for number in (1, 2, 3):
            shown = await heard(events, "screen")
            assert shown["version"] == f"v{number}"
            assert shown["lines"] == [HOSTILE]
        async with asyncio.timeout(10):
            await waits.wait()
    async with asyncio.timeout(10):
        await left.wait()
    assert asked == [None, "v1", "v2", "v3"]


async def test_the_end_of_a_terminal_is_told_in_words_and_ends_the_stream(
    browser: Browser, verbs: ScriptedVerbs
) -> None:
    verbs.answers["screen"] = gives(WrongStateError("spec_1 has ended: restart starts it again."))
    async with browser.stream("/api/screen/spec_1") as events:
        assert [event async for event in events] == [("ended", {"words": "spec_1 has ended: restart starts it again."})]


async def test_what_a_person_types_reaches_the_team_as_it_is(browser: Browser, verbs: ScriptedVerbs) -> None:
    typed: list[Request] = []

    async def type_keys(request: Request, _caller: Caller) -> Result:
        typed.append(request)
        return TypeResult(instance_id="spec_1")

    verbs.answers["type"] = type_keys
    keys: list[dict[str, str]] = [{"text": "; $(x) Enter"}, {"key": "Enter"}, {"key": "C-b"}]
    assert (await browser.call("type", instanceId="spec_1", keys=keys)).status_code == 200
    (request,) = typed
    assert isinstance(request, TypeRequest)
    assert [key.text or key.key for key in request.keys] == ["; $(x) Enter", "Enter", "C-b"]
    assert (await browser.call("type", instanceId="spec_1", keys=[{"text": "\x1b[A"}])).status_code == 400


async def test_a_call_is_made_as_the_user_and_answered_with_the_result(browser: Browser, verbs: ScriptedVerbs) -> None:
    callers: list[Caller] = []

    async def send(request: Request, caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        assert request.message == HOSTILE
        callers.append(caller)
        return SENT

    verbs.answers["send"] = send
    answer = await browser.call("send", instanceId="mgr_1", message=HOSTILE)
    assert answer.status_code == 200
    assert answer.json()["messageId"] == "m1"
    (caller,) = callers
    assert caller.token is None
    assert caller.sender == "operator"


async def test_what_the_team_refuses_is_told_in_its_words(browser: Browser, verbs: ScriptedVerbs) -> None:
    refusals = {RefusedError("Your role does not allow it."): 403, UnknownInstanceError("There is no spec_9."): 404}
    for error, status in refusals.items():
        verbs.answers["interrupt"] = gives(error)
        answer = await browser.call("interrupt", instanceId="spec_9")
        assert answer.status_code == status
        assert answer.json() == {"code": error.code, "message": str(error)}
    wrong = await browser.call("interrupt", instance="spec_9")
    assert wrong.status_code == 400
    assert wrong.json()["code"] == "invalid_request"


async def test_a_call_that_only_looks_ends_when_its_browser_leaves(browser: Browser, verbs: ScriptedVerbs) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hosts(_request: Request, _caller: Caller) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    verbs.answers["hosts"] = hosts
    call = asyncio.create_task(browser.call("hosts"))
    await begun.wait()
    call.cancel()
    async with asyncio.timeout(10):
        await ended.wait()


async def test_the_work_of_all_is_looked_up_once_for_all_pages(browser: Browser, verbs: ScriptedVerbs) -> None:
    asked: list[ListRequest] = []

    async def listed(request: Request, _caller: Caller) -> Result:
        assert isinstance(request, ListRequest)
        asked.append(request)
        rows: list[InstanceInfo] = [info("spec_1", work=WorkInfo(base="main", ahead=2)), info("spec_2")]
        return ListResult(needs_attention=[], counts={}, instances=rows)

    verbs.answers["list"] = listed
    answers = await asyncio.gather(*(browser.client.get("/api/work") for _ in range(10)))
    for answer in answers:
        assert set(answer.json()["instances"]) == {"spec_1"}
        assert answer.json()["instances"]["spec_1"]["ahead"] == 2
        assert answer.json()["conflicts"] == []
    assert [request.work for request in asked] == [True]


async def test_a_killed_endpoint_is_back_and_the_browser_is_still_signed_in(
    browser: Browser, team: ScriptedTeam, home: Home
) -> None:
    async with browser.stream() as events:
        await heard(events, "changes")
        killed = the_process(home)
        killed.kill()
        with pytest.raises(Exception, match=r"closed|ended|reset|disconnected"):
            await heard(events, "changes")
    await until(lambda: not is_running(killed))
    async with browser.stream() as events:
        assert len((await heard(events, "changes"))["instances"]) == 2


async def test_a_lost_supervisor_is_told_and_so_is_its_return_with_all_rows(
    browser: Browser, team: ScriptedTeam, gateway: Gateway, home: Home, verbs: ScriptedVerbs
) -> None:
    async with browser.stream() as events:
        await heard(events, "changes")
        await gateway.stop()
        assert (await heard(events, "away"))["words"]
        async with browser.stream() as late:
            assert len((await heard(late, "changes"))["instances"]) == 2
            assert (await heard(late, "away"))["words"]
        team.change("spec_1", unread=9)
        again = Gateway(home.gateway_socket, verbs)
        await again.start()
        assert await heard(events, "back") == {}
        back = await heard(events, "changes")
        assert back["complete"]
        assert {row["instanceId"]: row["unread"] for row in back["instances"]}["spec_1"] == 9
        await again.stop()


async def test_streams_do_not_hold_up_the_end_of_the_process(
    browser: Browser, team: ScriptedTeam, home: Home, endpoint: TeamEndpoint
) -> None:
    async with browser.stream() as events:
        await heard(events, "changes")
        process = the_process(home)
        await endpoint.end()
        assert not is_running(process)
    log = (home.logs / "web.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log
