"""What anybody on the machine, and any page that the user opens, can do to the team's page: nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from actors.home import Home
from actors.host.endpoint import TeamEndpoint
from mcp_entry.web import bodies, sign_in
from mcp_entry.web.browser import MOST_STREAMS, MOST_STREAMS_OF_BROWSER
from mcp_entry.web.browser_calls import PAGE_VERBS
from supervisor.api.verbs import VERBS
from tests.fakes.gateway import info
from tests.integration.rpc.conftest import ScriptedVerbs
from tests.integration.web.conftest import LIST_TOOLS, TOKEN, exchange, port_of, request, send_message
from tests.integration.web.page import Browser, ScriptedTeam, heard

PATHS = ("/", "/assets/page-AAAAAAAA.js", "/api/team", "/api/work", "/api/screen/spec_1")


@pytest.fixture
def team(verbs: ScriptedVerbs) -> ScriptedTeam:
    return ScriptedTeam(verbs, [info("spec_1")])


@pytest.fixture
async def browser(endpoint: TeamEndpoint, team: ScriptedTeam, home: Home) -> AsyncIterator[Browser]:
    """Signed in."""
    browser = Browser(port_of(await endpoint.ensure()))
    assert (await browser.sign_in(home)).status_code == 303
    yield browser
    await browser.client.aclose()


@pytest.fixture
async def stranger(browser: Browser) -> AsyncIterator[Browser]:
    """Without a cookie."""
    stranger = Browser(browser.port)
    yield stranger
    await stranger.client.aclose()


def _acted(verbs: ScriptedVerbs) -> list[str]:
    return [verb for verb, _, _ in verbs.calls if verb not in ("changes", "events", "hosts", "status", "identify")]


async def test_without_a_cookie_nothing_is_shown_or_done(stranger: Browser, verbs: ScriptedVerbs) -> None:
    for path in PATHS:
        assert (await stranger.client.get(path)).status_code == 401, path
    for verb in PAGE_VERBS:
        assert (await stranger.call(verb, instanceId="spec_1")).status_code == 401
    assert _acted(verbs) == []


async def test_a_cookie_that_we_did_not_give_opens_nothing(stranger: Browser) -> None:
    for cookie in ("", "x", "a" * 43, "../../../etc/passwd", '"', "a" * 7000):
        headers = {"Cookie": f"phalanx-{stranger.port}={cookie}; phalanx={cookie}"}
        for path in PATHS:
            assert (await stranger.client.get(path, headers=headers)).status_code in (400, 401), (cookie, path)


async def test_a_cookie_of_another_home_opens_nothing(stranger: Browser, short_tmp: Path) -> None:
    other = Home(short_tmp / "other")
    other.create()
    session = sign_in.use_link(other, sign_in.make_link(other))
    headers = {"Cookie": f"phalanx-{stranger.port}={session}"}
    for path in PATHS:
        assert (await stranger.client.get(path, headers=headers)).status_code == 401


async def test_a_link_is_good_once_also_when_twenty_use_it_at_the_same_moment(stranger: Browser, home: Home) -> None:
    once = {"once": sign_in.make_link(home)}
    answers = await asyncio.gather(*(stranger.client.get("/sign-in", params=once) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [303] + 19 * [403]
    refused = next(answer for answer in answers if answer.status_code == 403)
    assert "used already" in refused.text
    assert "phalanx dashboard" in refused.text
    assert "set-cookie" not in refused.headers


async def test_a_link_that_is_too_old_opens_nothing(
    stranger: Browser, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as past:
        past.setattr(sign_in, "LINK_S", -1.0)
        link = sign_in.make_link(home)
    answer = await stranger.client.get("/sign-in", params={"once": link})
    assert answer.status_code == 403
    assert "too old" in answer.text


async def test_another_origin_gets_nothing_although_the_browser_sends_the_cookie(
    browser: Browser, verbs: ScriptedVerbs
) -> None:
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null", "http://127.0.0.1", ""):
        headers = {"Origin": origin}
        for path in (*PATHS, "/sign-in?once=x"):
            assert (await browser.client.get(path, headers=headers)).status_code == 403, (origin, path)
        answer = await browser.client.post("/api/call/interrupt", json={"instanceId": "spec_1"}, headers=headers)
        assert answer.status_code == 403, origin
    assert _acted(verbs) == []


async def test_a_page_of_another_port_or_site_gets_nothing(browser: Browser, verbs: ScriptedVerbs) -> None:
    for site in ("cross-site", "same-site", "none"):
        for path in ("/api/team", "/api/work", "/api/screen/spec_1"):
            assert (await browser.client.get(path, headers={"Sec-Fetch-Site": site})).status_code == 403
    assert _acted(verbs) == []


async def test_another_name_leads_nobody_here(browser: Browser) -> None:
    for name in ("evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""):
        host = name.format(port=browser.port)
        for path in (*PATHS, "/sign-in?once=x"):
            answer = await browser.client.get(path, headers={"Host": host})
            assert answer.status_code in (400, 403), (host, path)


async def test_a_call_needs_an_origin_and_json(browser: Browser, verbs: ScriptedVerbs) -> None:
    path, body = "/api/call/interrupt", b'{"instanceId": "spec_1"}'
    no_origin = await browser.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert no_origin.status_code == 403
    # What a form, or a script without asking first, of another page can send.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"):
        headers = {"Origin": browser.own, "Content-Type": kind}
        assert (await browser.client.post(path, content=body, headers=headers)).status_code == 415, kind
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        assert (await browser.client.request(method, path)).status_code == 405
    assert _acted(verbs) == []


async def test_a_body_that_is_no_object_is_refused_in_words(browser: Browser, verbs: ScriptedVerbs) -> None:
    headers = {"Origin": browser.own, "Content-Type": "application/json"}
    for body in (b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000):
        answer = await browser.client.post("/api/call/interrupt", content=body, headers=headers)
        assert answer.status_code == 400, body[:20]
        assert answer.json()["message"], body[:20]
    assert _acted(verbs) == []


async def test_the_page_calls_only_what_it_needs(browser: Browser, verbs: ScriptedVerbs) -> None:
    for verb in {*VERBS, "nothing", "__class__", "..%2f", "SEND"} - PAGE_VERBS:
        assert (await browser.call(verb)).status_code in (404, 405), verb
    assert _acted(verbs) == []


NO_ASSETS = (
    "../browser.py",
    "..%2fbrowser.py",
    "%2e%2e/%2e%2e/__main__.py",
    "..%5c..%5cbrowser.py",
    "%00.js",
    "index.html",
    ".js",
    "....//....//etc/passwd",
    "/etc/passwd",
    "page.js%00.css",
    "~/x.js",
)


async def test_no_path_leads_out_of_the_assets(browser: Browser) -> None:
    cookies = "; ".join(f"{key}={value}" for key, value in browser.client.cookies.items())
    for name in NO_ASSETS:
        head = f"GET /assets/{name} HTTP/1.1\r\nHost: 127.0.0.1:{{port}}\r\nCookie: {cookies}\r\n\r\n"
        status, text = await exchange(browser.port, head.encode())
        assert status in (400, 404), name
        assert "import" not in text, name
        assert "root:" not in text, name


async def test_a_token_of_an_instance_opens_nothing_of_the_page(stranger: Browser, verbs: ScriptedVerbs) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": f"phalanx-{stranger.port}={TOKEN}"}
    for path in PATHS:
        assert (await stranger.client.get(path, headers=headers)).status_code == 401
    assert (await stranger.client.get("/sign-in", params={"once": TOKEN})).status_code == 403
    answer = await stranger.client.post("/api/call/hosts", json={}, headers={**headers, "Origin": stranger.own})
    assert answer.status_code == 401
    assert _acted(verbs) == []


async def test_the_cookie_opens_nothing_of_the_instances_tools(browser: Browser, verbs: ScriptedVerbs) -> None:
    (session,) = browser.client.cookies.values()
    for headers in ({}, {"Authorization": f"Bearer {session}"}):
        answer = await browser.client.post("/mcp", json=LIST_TOOLS, headers={"Origin": browser.own, **headers})
        assert answer.status_code == 401
    assert _acted(verbs) == []


async def test_a_body_that_never_ends_is_given_up_and_holds_nobody_up(browser: Browser, verbs: ScriptedVerbs) -> None:
    cookies = "; ".join(f"{key}={value}" for key, value in browser.client.cookies.items())
    head = (
        f"POST /api/call/interrupt HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nOrigin: {browser.own}\r\n"
        f"Content-Type: application/json\r\nCookie: {cookies}\r\nContent-Length: 1000\r\n\r\n{{"
    )
    opened = [await asyncio.open_connection("127.0.0.1", browser.port) for _ in range(100)]
    for _, writer in opened:
        writer.write(head.encode())
    assert (await browser.call("hosts")).status_code == 200
    async with asyncio.timeout(bodies.BODY_S + 20):
        for reader, writer in opened:
            assert b" 408 " in await reader.readline()
            writer.close()
    assert _acted(verbs) == []


async def test_sixty_streams_are_too_many_and_harm_no_agent(browser: Browser, home: Home) -> None:
    async with AsyncExitStack() as stack:
        browsers = [Browser(browser.port) for _ in range(60 // MOST_STREAMS_OF_BROWSER)]
        statuses = []
        for each in browsers:
            stack.push_async_callback(each.client.aclose)
            assert (await each.sign_in(home)).status_code == 303
            for _ in range(MOST_STREAMS_OF_BROWSER):
                opened = await stack.enter_async_context(each.client.stream("GET", "/api/team"))
                statuses.append(opened.status_code)
        assert statuses == MOST_STREAMS * [200] + (60 - MOST_STREAMS) * [503]
        status, answer = await exchange(browser.port, send_message("It is done."))
        assert status == 200
        assert "isError" not in json.loads(answer)["result"]
        assert (await browser.call("hosts")).status_code == 200
    async with asyncio.timeout(20):
        while (await _first_status(browser)) != 200:  # noqa: ASYNC110 - the process announces nothing
            await asyncio.sleep(0.1)


async def _first_status(browser: Browser) -> int:
    async with browser.client.stream("GET", "/api/team") as response:
        return response.status_code


async def test_the_streams_of_one_browser_leave_it_a_connection_for_its_calls(browser: Browser) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MOST_STREAMS_OF_BROWSER):
            await heard(await stack.enter_async_context(browser.stream()), "changes")
        refused = await browser.client.get("/api/team")
        assert refused.status_code == 503
        assert "close some" in refused.json()["message"]


async def test_too_many_calls_of_pages_are_refused_and_leave_room_for_those_of_the_agents(
    browser: Browser, verbs: ScriptedVerbs
) -> None:
    go_on = asyncio.Event()

    async def hosts(*_: Any) -> Any:
        await go_on.wait()
        raise RuntimeError

    verbs.answers["hosts"] = hosts
    calls = [asyncio.create_task(browser.call("hosts")) for _ in range(60)]
    done: set[asyncio.Task[httpx2.Response]] = set()
    async with asyncio.timeout(30):
        while len(done) < 28:
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED, timeout=1)
    for refused in (call.result() for call in done):
        assert refused.status_code == 429
        assert refused.json()["code"] == "too_many_calls"
        assert "32 calls of the page run already" in refused.json()["message"]
    assert (await exchange(browser.port, request(LIST_TOOLS)))[0] == 200
    status_of_agent, _ = await exchange(browser.port, send_message("It is done."))
    assert status_of_agent == 200
    go_on.set()
    for call in calls:
        with suppress(httpx2.HTTPError):
            await call
