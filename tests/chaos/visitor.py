"""Carries out the visits of one person: a real tmux client at a real size, real keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.ledger import Ledger
from tests.chaos.visits import DRAFT_MARK, Act, Visit
from tests.people import People, Person

_SEEN_S = 3.0
_TWICE_S = 1.2
"""A second Ctrl-C within a second would end the agent."""
_TIDY_S = 30.0
_BEING_TYPED_S = 5.0
_COPY_MODE = re.compile(r"\[\d+/\d+\]\s*$")
"""Where tmux says at the upper right how far back one has scrolled."""
_TYPED = re.compile(rf"q?(?:/[a-z]*|{DRAFT_MARK.replace(' ', '')}[a-z]*)?")
"""All that a person types, blanks left out: beside a message there is more."""
_DIALOG = re.compile(r"❯ \d\.|Do you want|Esc to")
_GONE = (RuntimeError, AssertionError, TimeoutError)
"""A terminal that went away, or a screen that did not come."""


@dataclass(slots=True, kw_only=True)
class Visitor:
    """``sessions``: the tmux session of each instance."""

    name: str
    people: People
    sessions: Mapping[str, str]
    ledger: Ledger
    visited: set[str] = field(default_factory=set)

    async def run(self, visits: Sequence[Visit], stop: asyncio.Event) -> None:
        """Returns when all are made or ``stop`` is set; then nothing that this person typed stands anywhere."""
        for visit in visits:
            if await _is_set_within(stop, visit.after_s):
                break
            self.visited.add(visit.instance_id)
            self.ledger.visits += 1
            self.ledger.note("visit", person=self.name, visit=visit)
            try:
                await self._visit(visit)
            except _GONE as error:
                self.ledger.note("visit broken off", person=self.name, why=str(error)[:500])
        await self.tidy()

    async def tidy(self) -> None:
        """Goes round once more and clears what stands in the input boxes, as somebody does before going home."""
        for instance_id in sorted(self.visited):
            try:
                person = await self._sit_down(instance_id, (200, 50), plain_tmux=True)
                if _COPY_MODE.search((await person.sees()).partition("\n")[0]):
                    await person.presses("q")
                async with asyncio.timeout(_TIDY_S):
                    while await self._clear(person):
                        pass
                await person.closes_the_window()
            except _GONE as error:
                self.ledger.note("not tidied", person=self.name, instance=instance_id, why=str(error)[:500])

    async def _sit_down(self, instance_id: str, size: tuple[int, int], *, plain_tmux: bool) -> Person:
        return await self.people.sits_down(instance_id, self.sessions[instance_id], size, plain_tmux=plain_tmux)

    async def _visit(self, visit: Visit) -> None:
        person = await self._sit_down(visit.instance_id, visit.size, plain_tmux=visit.plain_tmux)
        try:
            for act in visit.acts:
                await self._act(person, act, visit)
                await asyncio.sleep(visit.each_s)
            if not visit.closes_the_window and Act.COPY not in visit.acts:
                await person.detaches()
        finally:
            await person.closes_the_window()

    async def _act(self, person: Person, act: Act, visit: Visit) -> None:
        match act:
            case Act.LOOK:
                await person.sees()
            case Act.DRAFT | Act.WALK_AWAY:
                await person.types(visit.draft)
                await asyncio.sleep(visit.each_s)
                if act is Act.DRAFT:
                    await self._clear(person)
            case Act.SCROLL:
                await person.scrolls("up")
                await asyncio.sleep(visit.each_s)
                await person.scrolls("down", 10)
            case Act.COPY:
                await person.presses("C-b", "[")  # and leaves it so: the next one finds the pane in copy mode
            case Act.RESIZE:
                for width, height in visit.sizes:
                    await person.resizes(width, height)
                    await asyncio.sleep(0.05)
            case Act.ESCAPE:
                await person.presses("Escape")
            case Act.CLEAR | Act.RENAME | Act.RESUME:
                await self._command(person, act)

    async def _command(self, person: Person, command: Act) -> None:
        """Types it, sees that it stands alone in the input box, and only then presses Enter."""
        words = f"{command} {self.name}" if command is Act.RENAME else str(command)
        await person.presses("q")  # the pane may be in copy mode; otherwise a letter that is cleared again
        await self._clear(person)
        await person.types(words)
        try:
            await person.until(lambda screen: _in_the_box(screen) == words, words, _SEEN_S)
        except AssertionError:
            await self._clear(person)
            return
        await person.presses("Enter")
        if command is Act.RESUME:
            await self._take_from_the_list(person)
        self.ledger.note("command", person=self.name, words=words)

    async def _take_from_the_list(self, person: Person) -> None:
        """The first conversation that is offered; a list that offers none is closed again."""
        await person.until(lambda screen: _is_list(screen) and "Loading" not in screen, "the list", _SEEN_S)
        await person.presses("Enter")
        try:
            await person.until(lambda screen: not _is_list(screen), "the end of the list", _SEEN_S)
        except AssertionError:
            await person.presses("Escape")

    async def _clear(self, person: Person) -> bool:
        """Leaves nothing in the input box; whether there was anything.

        What holds a message stays there for as long as it may only be being typed. One that an Escape has put back is
        seen there by then: when it is gone it is entered again, unless the agent has it in its records.
        """
        left = _in_the_box(await person.sees())
        if not left or (not _TYPED.fullmatch("".join(left.split())) and not await self._stays(person, left)):
            return False
        await person.presses("C-c")
        await asyncio.sleep(_TWICE_S)
        return True

    async def _stays(self, person: Person, left: str) -> bool:
        try:
            await person.until(lambda screen: _in_the_box(screen) != left, within_s=_BEING_TYPED_S)
        except AssertionError:
            return True
        return False


def _in_the_box(screen: str) -> str:
    """What stands in the input box, between the last two rules; empty when no box can be seen."""
    rows = [row.replace("\xa0", " ").rstrip() for row in screen.splitlines()]
    rules = [at for at, row in enumerate(rows) if row.startswith("───")]
    inside = rows[rules[-2] + 1 : rules[-1]] if len(rules) > 1 else []
    if any(_DIALOG.search(row) for row in inside):
        return ""
    return "\n".join(inside).removeprefix("❯").strip()


def _is_list(screen: str) -> bool:
    return "resume session" in screen.lower()


async def _is_set_within(event: asyncio.Event, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            return await event.wait()
    except TimeoutError:
        return event.is_set()
