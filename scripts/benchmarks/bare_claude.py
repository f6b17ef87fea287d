"""The floor for spawns and messages: Claude Code alone in a tmux session, typed into with the fewest steps that work.

As with Phalanx a text has arrived when the program's transcript holds it, but nothing is checked, stored or reported.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from actors.agents.base import Composer, Screen
from actors.agents.claude_screen import read_screen
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from scripts.benchmarks.bench import Bench, few_at_once, timed
from tests.acceptance.team import Team

_POLL_S = 0.002
_PATIENCE_S = 300.0
"""A hundred on few cores wait for each other."""


class BareClaudes:
    """Bare programs, each in a session of one private tmux server; a context manager that ends it."""

    def __init__(self, claude: Path, socket: Path, environment: Mapping[str, str], poll_s: float = _POLL_S) -> None:
        """``environment``: its HOME trusts the directories in which the programs work. ``poll_s``: between two looks at
        one of them; of many that start at once, the looks must not take their cores."""
        self._claude = claude
        self._user = Path(environment["HOME"])
        self._server = TmuxServer(socket)
        self._server.start(environment)
        self._poll_s = poll_s
        self._tmux = TmuxClient(socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.stop()

    async def start(self, directory: Path, *words: str) -> BareClaude:
        """Returns when its input box is visible. ``words``: further ones of its command line."""
        session = str(uuid.uuid4())
        command = [str(self._claude), "--session-id", session, *words]
        opened = await asyncio.to_thread(self._server.open_session, f"bare-{session[:8]}", command, directory)
        pane = Pane(self._tmux, opened.pane_id)
        bare = BareClaude(pane, self._user / ".claude" / "projects", session, self._poll_s)
        await bare.shows(lambda screen: screen.composer is not Composer.ABSENT)
        return bare

    async def with_texts(
        self, directory: Path, texts: Sequence[str], *, at_once: int, options_of: Path | None = None
    ) -> list[BareClaude]:
        """One for each text, which it has by then, in a directory of its own in this one; as many start at a time.

        ``options_of``: private directory of a member of a team, whose tools and hooks they get.
        """

        async def one(text: str) -> BareClaude:
            own = directory / str(uuid.uuid4())
            own.mkdir()
            bare = await self.start(own, *(_options(options_of, own) if options_of else ()))
            await bare.message(text)
            return bare

        return await few_at_once(at_once, one, texts)

    def end(self, bare: BareClaude) -> None:
        self._server.close_session(f"bare-{bare.session[:8]}")


@asynccontextmanager
async def bare_programs(
    bench: Bench, team: Team, count: int, *, at_once: int, look_s: float, options_of: str = ""
) -> AsyncIterator[tuple[float, list[BareClaude]]]:
    """So many bare programs, each in a trusted directory, too, and the seconds until each had its first text.

    ``options_of``: id of an instance, whose tools and hooks they get.
    """
    member = team.home.instance_directory(options_of) if options_of else None
    texts = [f"task {number} of the floor" for number in range(count)]
    with (
        bench.scratch() as scratch,
        BareClaudes(bench.claude, scratch / "bare.sock", team.environment, look_s) as bare,
    ):
        texts_there = bare.with_texts(team.home.worktrees, texts, at_once=at_once, options_of=member)
        first_ms, everyone = await timed(texts_there)
        yield first_ms / 1000, everyone


def _options(member: Path, own: Path) -> tuple[str, ...]:
    """Of a program with the member's tools, whose hooks write into a directory of its own."""
    settings = own / "settings.json"
    settings.write_text((member / settings.name).read_text().replace(str(member), str(own)))
    return "--settings", str(settings), "--mcp-config", str(member / "mcp.json")


class BareClaude:
    def __init__(self, pane: Pane, transcripts: Path, session: str, poll_s: float) -> None:
        self.pane = pane
        self._poll_s = poll_s
        self._transcripts = transcripts
        self.session = session

    async def message(self, text: str) -> None:
        """Pastes and enters the text; returns when the transcript holds it."""
        await self.shows(lambda screen: screen.composer is Composer.EMPTY)
        await self.pane.paste(text)
        await self.shows(lambda screen: screen.composer is Composer.DRAFT)
        await self.pane.press("Enter")
        await self._until(lambda: self._holds(text))

    async def idle(self) -> None:
        await self.shows(lambda screen: screen.composer is Composer.EMPTY and not screen.busy)

    async def shows(self, condition: Callable[[Screen], bool]) -> None:
        async def met() -> bool:
            return condition(read_screen(await self.pane.capture(styled=True)))

        await self._until(met)

    async def _holds(self, text: str) -> bool:
        return any(text in path.read_text() for path in self._transcripts.glob(f"*/{self.session}.jsonl"))

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            met = await condition()
            while not met:
                await asyncio.sleep(self._poll_s)
                met = await condition()
