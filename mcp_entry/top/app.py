"""The program ``phalanx top``: what each key does, and what is drawn when the team changes.

All that is asked of the team goes on beside the drawing; its outcome is told in the last line. The program ends by a
key, when its terminal is gone (``terminal``), or when the team refuses to be followed. It goes on while the team is
away.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.strip import Strip
from textual.widgets import Static

from actors.errors import PhalanxError, TeamNotRunningError, UnavailableError
from actors.messages import MessageStatus
from actors.status import Status
from mcp_entry import texts
from mcp_entry.cli.naming import sentence_with_names, with_names
from mcp_entry.cli.output import one_line, plain
from mcp_entry.top import columns, following, terminal
from mcp_entry.top.conversation import conversation_strips, screen_strips, wrapped
from mcp_entry.top.deciding import Decisions, NotDecidedError
from mcp_entry.top.details import FactsLine, LayOut, LinesView, need_text, task_text, who_facts
from mcp_entry.top.following import Away
from mcp_entry.top.needs import command_name, need_of, next_step
from mcp_entry.top.rows import NEEDING, ListLine, Order, TeamRows
from mcp_entry.top.table import TeamTable, Titles
from mcp_entry.top.writing import FilterLine, MessageArea
from supervisor.api.requests import ReadRequest, RespondRequest, SendRequest
from supervisor.api.results import ChangesResult, ConversationEntry, InstanceInfo, called
from supervisor.rpc.client import SupervisorClient

AGES_S = 2.0
"""Each time costs about 10 ms of CPU, most of it Textual's own."""
_SETTLE_S = 0.1
"""Who moves through the list asks for no preview of those in between."""
_READ_AGAIN_S = 0.3
_MOST_ENTRIES = 200
_SEND_S = 60.0
_LONGEST_TOLD = 500
_BESIDE_COLUMNS = 150
"""From this width on the details stand beside the list."""
_KEYS = "a allow  d deny  n next  s send  Enter attach  v view  t order  / filter  ? help"
_OTHER_VIEW = "v shows its conversation."
_HELP = """\
 Up Down PgUp PgDn Home End   select; also j, k
 Tab     the keyboard to the lower parts, to scroll them
 n       the next one that needs somebody

 a       allow the tool call that is shown
 d       deny it, or close the dialog
 1 to 9  choose this option of a question

 s       send a message: Enter sends, Ctrl-J begins a new line
 Enter   into its terminal; Ctrl-b d comes back
 v       its screen, or its conversation
 t       the list as a tree, or by state
 /       filter: words that must all be found; Esc ends it
 q       end; the team goes on

 A key decides only what is shown of the selected one, and only after
 it has stood there for half a second. a wants the end of a long call
 to have been in view: Tab, then End.

 Any key closes this."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A row with all that it was made from."""

    line: ListLine
    info: InstanceInfo
    needs_attention: bool
    age: str
    row: columns.Row


class TopApp(App[None]):
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = "#team"
    CSS = """
    Screen { layout: vertical; layers: base above; background: ansi_default; color: ansi_default; }
    #head, #keys, #who, #task, #writing-to, Titles {
        height: 1; width: 100%; text-wrap: nowrap; text-overflow: ellipsis;
    }
    #keys.told { height: auto; max-height: 4; text-wrap: wrap; }
    #trouble { height: auto; max-height: 3; width: 100%; display: none; }
    #body { height: 1fr; }
    #list { width: 1fr; height: 45%; min-height: 5; }
    #details { width: 1fr; height: 1fr; }
    #need { height: auto; max-height: 60%; display: none; }
    #preview { height: 1fr; min-height: 2; }
    TeamTable, LinesView {
        scrollbar-size: 1 1; background: ansi_default; overflow-x: hidden;
        scrollbar-background: ansi_default; scrollbar-background-hover: ansi_default;
        scrollbar-background-active: ansi_default;
        scrollbar-color: ansi_bright_black; scrollbar-color-hover: ansi_cyan; scrollbar-color-active: ansi_cyan;
    }
    TeamTable { height: 1fr; overflow-y: scroll; }
    #writing { height: auto; display: none; }
    MessageArea, FilterLine { height: auto; max-height: 8; background: ansi_default; color: ansi_default; }
    #help { display: none; layer: above; width: 100%; height: 100%; background: ansi_default; }
    .beside #body { layout: horizontal; }
    .beside #list { height: 100%; width: 55%; }
    .beside #details { height: 100%; padding-left: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", show=False),
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("a", "allow", show=False),
        Binding("d", "deny", show=False),
        *(Binding(str(number), f"choose({number})", show=False) for number in range(1, 10)),
        Binding("n", "next", show=False),
        # With priority, so that a key that comes in the same moment is already for the place to write in.
        Binding("s", "write", show=False, priority=True),
        Binding("enter", "attach", show=False),
        Binding("v", "view", show=False),
        Binding("t", "order", show=False),
        Binding("slash", "filter", show=False, priority=True),
        Binding("escape", "no_filter", show=False),
        Binding("question_mark", "help", show=False),
    ]

    def __init__(
        self,
        client: SupervisorClient,
        way_into: Callable[[InstanceInfo], terminal.WayInto],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        """``way_into`` is called in a thread and raises ``PhalanxError`` where there is no way. ``clock``: seconds."""
        super().__init__(driver_class=terminal.TerminalDriver, ansi_color=True)
        self.theme = "ansi-dark"
        self._client = client
        self._way_into = way_into
        self._wall_clock = wall_clock
        self._now = wall_clock()
        """Of all ages that are shown, so that one thing has one age."""
        self._team = TeamRows()
        self._decisions = Decisions(clock)
        self._order = Order.TREE
        self._away = ""
        self._filter = ""
        self._lines: Sequence[ListLine] = ()
        """Of the list, as it was when the team or what is wanted of it last changed."""
        self._made: Mapping[tuple[str, str], _Made] = {}
        self._told: Text | None = None
        """In place of the keys until the next one is pressed."""
        self._drafts: dict[str, str] = {}
        """By instance: what was written to it and not sent."""
        self._place: MessageArea | FilterLine | None = None
        """Where one may write now; it need not have the keyboard."""
        self._shows_screen = True
        self._previewed: InstanceInfo | None = None
        """As it was when its preview was last asked for; None when no preview goes on."""
        self._selected_changed = asyncio.Event()
        self.failure: PhalanxError | None = None
        """Why the program has ended by itself."""

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Static(id="trouble", markup=False)
        with Vertical(id="body"):
            with Vertical(id="list"):
                yield Titles()
                yield TeamTable()
            with Vertical(id="details"):
                yield FactsLine(id="who")
                yield Static(id="task", markup=False)
                yield LinesView(id="need", fits=True)
                yield LinesView(id="preview", follows_end=True)
        yield Vertical(id="writing")
        yield Static(id="keys", markup=False)
        yield Static(_HELP, id="help", markup=False)

    def on_mount(self) -> None:
        self.set_interval(AGES_S, self._draw_ages)
        self.app_resume_signal.subscribe(self, self._draw_all)
        self.watch(self.screen, "focused", self._tell_keys)
        self._follow_team()

    def on_resize(self, event: events.Resize) -> None:
        self.screen.set_class(event.size.width >= _BESIDE_COLUMNS, "beside")

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            self._decisions.key_came()
            if self._told is not None:
                self._told = None
                self._tell_keys()
            if self._help.display:
                self._help.display = False
                self._decisions.seen_anew()
                return
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys that open a place to write in are letters there."""
        if action in {"write", "filter"} and isinstance(self.focused, MessageArea | FilterLine):
            return False
        return super().check_action(action, parameters)

    # What is drawn

    @property
    def _table(self) -> TeamTable:
        return self.query_one(TeamTable)

    @property
    def _help(self) -> Static:
        return self.query_one("#help", Static)

    @property
    def _selected(self) -> InstanceInfo | None:
        return self._team.instances.get(self._table.instance_id)

    @work(group="team")
    async def _follow_team(self) -> None:
        try:
            async with aclosing(following.changes(self._client)) as news:
                async for each in news:
                    self._take_in(each)
        except PhalanxError as error:
            self.failure = error
            self.exit()

    def _take_in(self, news: ChangesResult | Away) -> None:
        if isinstance(news, Away):
            self._away = news.words
            self._draw_head()
            return
        before = self._selected
        self._away = ""
        self._team.apply(news)
        self._draw_head()
        self._draw_rows()
        if news.complete or self._selected is not before:
            self._draw_selected()

    def _draw_all(self, app: App[object]) -> None:
        """Another program has used the terminal."""
        self._decisions.seen_anew()
        self.refresh(layout=True)

    def _draw_head(self) -> None:
        head = plain("phalanx top", "bold")
        if self._filter:
            head.append("  ").append_text(plain(f"filter: {self._filter}", "reverse"))
        if self._team.needing:
            verb = "needs" if len(self._team.needing) == 1 else "need"
            head.append(f"  {len(self._team.needing)} {verb} you", "bold yellow")
        counts = ", ".join(f"{count} {status}".replace("_", " ") for status, count in self._team.counts.items())
        head.append(f"  {len(self._team.instances)} instances" + (f": {counts}" if counts else ""))
        self.query_one("#head", Static).update(head)
        words = [f"AWAY: {self._away}"] if self._away else []
        words += [f"Warning: {each}" for each in self._team.warnings]
        trouble = self.query_one("#trouble", Static)
        trouble.display = bool(words)
        trouble.update(plain("\n".join(words), "bold red" if self._away else "yellow"))

    def _draw_rows(self) -> None:
        self._lines = self._team.listed(self._order, self._filter)
        self._draw_ages()

    def _draw_ages(self) -> None:
        """Makes only the rows anew whose instance or age has changed."""
        self._now, needing = self._wall_clock(), set(self._team.needing)
        made: dict[tuple[str, str], _Made] = {}
        rows: list[columns.Row] = []
        for line in self._lines:
            if not line.instance_id:
                rows.append(columns.heading_row(line))
                continue
            info, needs = self._team.instances[line.instance_id], line.instance_id in needing
            age = columns.age_of(info, self._now)
            old = self._made.get(line.key)
            if old is None or old.info is not info or (old.line, old.needs_attention, old.age) != (line, needs, age):
                old = _Made(line, info, needs, age, columns.instance_row(line, info, age, needs_attention=needs))
            made[line.key] = old
            rows.append(old.row)
        self._made = made
        self._table.show(rows)
        self._draw_who()

    def _draw_selected(self) -> None:
        self._draw_who()
        self._draw_need()
        self._selected_changed.set()
        each = self._selected
        if each is None or self._previewed is None or self._previewed.instance_id != each.instance_id:
            self._preview()

    def _draw_who(self) -> None:
        each = self._selected
        nobody = "Nothing is found." if self._filter else "No instance yet: `phalanx spawn` starts one."
        self.query_one(FactsLine).show(who_facts(each, columns.age_of(each, self._now)) if each else [nobody])
        self.query_one("#task", Static).update(task_text(each) if each else "")

    def _draw_need(self) -> None:
        each = self._selected
        needs = each is not None and each.instance_id in self._team.needing
        need = need_of(each, needs_attention=needs) if each else None
        anew = self._decisions.need is None or need is None or need.identity != self._decisions.need.identity
        self._decisions.show(need)
        view = self.query_one("#need", LinesView)
        view.display = need is not None
        if need is not None:
            text = need_text(need, self._decisions.answers)
            view.show(partial(wrapped, text), anew=anew)

    @on(TeamTable.Selected)
    def _selection_moved(self) -> None:
        self._draw_selected()

    # The preview

    def _preview(self) -> None:
        each = self._previewed = self._selected
        if each is None or (self._shows_screen and each.status is Status.STOPPED):
            self._previewed = None
            self.workers.cancel_group(self, "preview")
            again = f"It is stopped: {next_step(each)} {_OTHER_VIEW}" if each else ""
            self._show_words(again)
        elif self._shows_screen:
            self._follow_screen(each.instance_id)
        else:
            self._follow_conversation(each.instance_id)

    @work(group="preview", exclusive=True)
    async def _follow_screen(self, instance_id: str) -> None:
        await asyncio.sleep(_SETTLE_S)
        anew = True
        try:
            async with aclosing(following.screens(self._client, instance_id)) as news:
                async for each in news:
                    if isinstance(each, Away):
                        self._show_words(each.words)
                    else:
                        self._show_lines(partial(_whatever_the_width, screen_strips(each.lines)), anew=anew)
                        anew = False
        except PhalanxError as error:
            self._show_words(f"{error} {_OTHER_VIEW}")
            self._previewed = None

    @work(group="preview", exclusive=True)
    async def _follow_conversation(self, instance_id: str) -> None:
        """Reads on whenever the row of the instance has changed."""
        entries: list[ConversationEntry] = []
        cursor: str | None = None
        anew = True
        while True:
            await asyncio.sleep(_SETTLE_S if anew else _READ_AGAIN_S)
            self._selected_changed.clear()
            request = ReadRequest(instance_id=instance_id, cursor=cursor, lines=_MOST_ENTRIES, leaves_unread=True)
            try:
                page = await self._client.read(request)
            except (TeamNotRunningError, UnavailableError) as error:
                self._tell_error(error)
            except PhalanxError as error:
                self._show_words(str(error))
                self._previewed = None
                return
            else:
                cursor = page.cursor or cursor
                if page.entries or anew:
                    entries = [*entries, *page.entries][-_MOST_ENTRIES:]
                    self._show_lines(partial(conversation_strips, entries), anew=anew)
                    anew = False
                if page.more:
                    continue
            await self._selected_changed.wait()

    def _show_words(self, words: str) -> None:
        self._show_lines(partial(wrapped, plain(words, "dim")))

    def _show_lines(self, lay_out: LayOut, *, anew: bool = True) -> None:
        self.query_one("#preview", LinesView).show(lay_out, anew=anew)

    def action_view(self) -> None:
        self._shows_screen = not self._shows_screen
        self._preview()

    # Decisions

    def action_allow(self) -> None:
        view = self.query_one("#need", LinesView)
        self._decide(lambda: self._decisions.allow(end_was_in_view=view.end_was_in_view))

    def action_deny(self) -> None:
        self._decide(self._decisions.deny)

    def action_choose(self, number: int) -> None:
        self._decide(lambda: self._decisions.choose(number))

    def _decide(self, decision: Callable[[], RespondRequest | None]) -> None:
        self._draw_need()  # of the row that is selected by now
        try:
            request = decision()
        except NotDecidedError as error:
            self._tell(str(error), "yellow")
            return
        if request is None:
            self._draw_need()
        else:
            self._respond(request)

    @work(group="asks")
    async def _respond(self, request: RespondRequest) -> None:
        self._tell(f"Answering {self._who(request.instance_id)}…")
        try:
            answered = await self._client.respond(request)
            self._tell(texts.of_respond(with_names(answered, self._names)), "green")
        except PhalanxError as error:
            self._decisions.failed(request)
            self._tell_error(error)
            self._draw_need()

    def action_next(self) -> None:
        """The next one that needs somebody, below the selected one, or the first."""
        needing = [key for key in self._made if key[0] == NEEDING]
        if not needing:
            self._tell("Nobody needs you.")
            return
        here = self._table.selected_key
        place = needing.index(here) + 1 if here in needing else 0
        self._table.select(needing[place % len(needing)])

    # Writing

    async def action_write(self) -> None:
        each = self._selected
        if each is None:
            self._tell("There is nobody to send to.")
            return
        if isinstance(self._place, MessageArea) and self._place.instance_id == each.instance_id:
            self.screen.set_focus(self._place)
            return
        self._keep_draft()
        await self._open(
            MessageArea(each.instance_id, self._drafts.get(each.instance_id, "")),
            f"To {self._who(each.instance_id)}",
        )

    async def action_filter(self) -> None:
        if isinstance(self._place, FilterLine):
            self.screen.set_focus(self._place)
            return
        self._keep_draft()
        await self._open(FilterLine(self._filter), "Filter")

    def action_no_filter(self) -> None:
        if self._filter:
            self._set_filter("")

    def _keep_draft(self) -> None:
        """Before another place to write in comes in place of the open one."""
        if isinstance(self._place, MessageArea):
            self._drafts[self._place.instance_id] = self._place.text

    async def _open(self, place: MessageArea | FilterLine, words: str) -> None:
        self._place = place
        writing = self.query_one("#writing", Vertical)
        await writing.remove_children()
        await writing.mount(Static(plain(words, "reverse"), id="writing-to", markup=False), place)
        writing.display = True
        self.screen.set_focus(place)  # at once, which ``focus`` is not

    async def _close(self, place: MessageArea | FilterLine) -> None:
        if place is not self._place:
            return  # another one has come in its place
        self._place = None
        writing = self.query_one("#writing", Vertical)
        writing.display = False
        self.screen.set_focus(self._table)
        await writing.remove_children()

    @on(FilterLine.Changed)
    def _filter_typed(self, event: FilterLine.Changed) -> None:
        self._set_filter(event.value)

    def _set_filter(self, words: str) -> None:
        if words != self._filter:
            self._filter = words
            self._draw_head()
            self._draw_rows()

    @on(FilterLine.Left)
    async def _filter_left(self, event: FilterLine.Left) -> None:
        await self._close(event.place)

    @on(MessageArea.Left)
    async def _message_left(self, event: MessageArea.Left) -> None:
        self._drafts[event.place.instance_id] = event.text
        await self._close(event.place)

    @on(MessageArea.Sent)
    async def _message_sent(self, event: MessageArea.Sent) -> None:
        self._drafts[event.place.instance_id] = event.text  # until it has arrived
        if event.text.strip():
            self._send(event.place.instance_id, event.text)
        await self._close(event.place)

    @work(group="asks")
    async def _send(self, instance_id: str, text: str) -> None:
        self._tell(f"Sending to {self._who(instance_id)}…")
        request = SendRequest(instance_id=instance_id, message=text, wait=True, timeout_seconds=_SEND_S)
        try:
            sent = with_names(await self._client.send(request), self._names)
        except PhalanxError as error:
            self._tell_error(error, " s shows what you wrote.")
            return
        if not sent.success:
            self._tell(f"{texts.of_send(sent)} s shows what you wrote.", "red")
            return
        if self._drafts.get(instance_id) == text:
            del self._drafts[instance_id]
        self._tell(texts.of_send(sent), "green" if sent.status is MessageStatus.SUBMITTED else "yellow")

    # The terminal

    def action_attach(self) -> None:
        each = self._selected
        if each is not None:
            self._go_into(each)

    @work(group="attach", exclusive=True)
    async def _go_into(self, each: InstanceInfo) -> None:
        """Nothing is drawn meanwhile, and nothing is read: the terminal is the other program's."""
        try:
            way = await asyncio.to_thread(self._way_into, each)
        except PhalanxError as error:
            self._tell_error(error)
            return
        try:
            with self.batch_update(), self.suspend():
                status = await terminal.lent_to(way)
        except OSError as error:
            self._tell(f"tmux cannot be started: {error}.", "red")
            return
        if status:
            self._tell(f"tmux ended with status {status}: `phalanx attach {command_name(each)}` shows why.", "red")

    def action_order(self) -> None:
        self._order = Order.STATE if self._order is Order.TREE else Order.TREE
        self._draw_rows()
        if self._table.selected_key is not None:
            self._table.select(self._table.selected_key)  # into view, wherever it stands now

    def action_help(self) -> None:
        self._help.display = True

    @property
    def _names(self) -> Mapping[str, str]:
        return {each.instance_id: each.name for each in self._team.instances.values() if each.name}

    def _who(self, instance_id: str) -> str:
        return called(instance_id, self._names.get(instance_id))

    def _tell_error(self, error: PhalanxError, more: str = "") -> None:
        self._tell(sentence_with_names(str(error), self._names) + more, "red")

    def _tell(self, words: str, style: str = "") -> None:
        self._told = plain(one_line(words, _LONGEST_TOLD), style)
        self._tell_keys()

    def _tell_keys(self) -> None:
        line = self.query_one("#keys", Static)
        line.set_class(self._told is not None, "told")
        keys = self.focused.KEYS if isinstance(self.focused, MessageArea | FilterLine) else _KEYS
        line.update(self._told or plain(keys, "dim"))


def _whatever_the_width(strips: Sequence[Strip], width: int) -> Sequence[Strip]:
    """A screen is as wide as its terminal."""
    return strips
