"""The commands for instances: start them, send them messages, read, list, attach to and terminate them.

A parameter that its function does not read is used all the same: ``ask`` and ``ask_and_show`` of ``CliSession`` fill
the request from every parameter of the command that has the name of a field. Their keywords are fields that differ from
what was typed.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from actors.agents.names import AgentName
from actors.errors import AgentError, InvalidRequestError, PhalanxError, WrongStateError, to_wire
from actors.messages import MessageStatus
from actors.status import ALIVE, Status
from mcp_entry import texts
from mcp_entry.cli import completion, views
from mcp_entry.cli.follow import follow as follow_conversation
from mcp_entry.cli.output import plain
from mcp_entry.cli.session import CliSession
from supervisor.api import results
from supervisor.api.requests import NAME_FORM, PermissionMode, Role, Until
from supervisor.api.verbs import RequestT, ResultT, TeamVerbs, Verb

InstanceArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Id or name of the instance, as `phalanx list` shows it.",
        autocompletion=completion.instances,
    ),
]
InstancesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        help="Ids or names of instances, as `phalanx list` shows them.",
        autocompletion=completion.instances,
    ),
]
SomeInstancesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Ids or names of instances.", autocompletion=completion.instances),
]
TextArgument = Annotated[
    str | None, typer.Argument(metavar="[TEXT|-]", help="The text; - reads stdin. After -- it may begin with a dash.")
]
FileOption = Annotated[Path | None, typer.Option("--file", help="Read the text from this file.")]
McpServersOption = Annotated[
    str,
    typer.Option("--mcp-servers", metavar="all|none|NAME,...", help="Which of your MCP servers it gets."),
]
_MOMENT_S = 0.3
"""How long a send stays to hear that its message is held, or there. What waits for a decision tells so within 20 ms."""
_ENDED_S = 10.0
"""Longest wait until the team has heard that an agent has ended, too."""
_NOTED_MS = 10_000
"""How long tmux shows a note. A key ends it earlier."""
NEEDS_ATTENTION = 3
"""The exit code when something waits for a person or the lead; 1 is an error, 2 wrong usage."""


class LimitOption(StrEnum):
    """The limits by the options that set them."""

    TOKENS = "tokens"
    INSTANCES = "instances"
    DEPTH = "depth"
    MODEL = "model"
    PERMISSIONS = "permissions"


_LIMITED: Mapping[LimitOption, str] = {LimitOption.MODEL: "models", LimitOption.PERMISSIONS: "permissionModes"}
"""The names of limits in the team that are not those of their options."""


def named_servers(given: str) -> str | list[str]:
    return given if given in {"all", "none"} else given.split(",")


def spawn(
    team: CliSession,
    text: TextArgument = None,
    *,
    file: FileOption = None,
    role: Annotated[Role, typer.Option(help="What it is in the team.")] = Role.SPECIALIST,
    work_dir: Annotated[Path, typer.Option("--dir", help="The directory to work on.")] = Path(),
    shared: Annotated[
        bool, typer.Option("--shared", help="Work in the directory itself, on no branch of its own.")
    ] = False,
    parent_id: Annotated[
        str | None,
        typer.Option("--parent", metavar="ID", help="The instance that leads it.", autocompletion=completion.instances),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The machine to run on, as `phalanx hosts` lists it.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="What its machine must have; may be repeated."),
    ] = None,
    name: Annotated[str | None, typer.Option(help=NAME_FORM)] = None,
    agent: Annotated[AgentName | None, typer.Option(help="The program to run.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    permission_mode: Annotated[
        PermissionMode | None, typer.Option("--permissions", help="Which tool calls need no asking.")
    ] = None,
    answers: Annotated[
        Literal["permissions"] | None, typer.Option(help="It answers permission requests of those below it.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable for it; may be repeated.")
    ] = None,
    mcp_servers: McpServersOption = "all",
    copy_files: Annotated[
        list[str] | None,
        typer.Option("--copy", metavar="FILE", help="A file below --dir to copy into its worktree; may be repeated."),
    ] = None,
    setup: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Run this in its worktree before it starts.")
    ] = None,
    limits: Annotated[
        str | None, typer.Option(metavar="JSON", help='As limit sets them, for example {"tokens": 500000, "depth": 1}.')
    ] = None,
) -> None:
    """Start one instance with its first message, the TEXT."""
    team.ask_and_show(
        TeamVerbs.spawn,
        "starting",
        texts.of_spawn,
        work_dir=str(work_dir.expanduser().absolute()),
        context=_text(text, file),
        workspace_mode="shared" if shared else "isolated",
        labels=_pairs(labels or [], "--label", "KEY=VALUE"),
        env=_pairs(env or [], "--env", "NAME=VALUE"),
        mcp_servers=named_servers(mcp_servers),
        prepare={"copy": copy_files or [], "setup": setup} if copy_files or setup else None,
        limits=None if limits is None else _json(limits, "--limits"),
    )


def send(
    team: CliSession,
    instance_id: InstanceArgument,
    text: TextArgument = None,
    *,
    file: FileOption = None,
    immediate: Annotated[bool, typer.Option("--immediate", help="Now, without gathering a batch.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it arrived, failed or is held.")] = False,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="With --wait: longest wait.")
    ] = 120.0,
) -> int:
    """Give an instance a message.

    Exits with 1 when it was refused or, with --wait, is not in the conversation, and with 3 when it is held back until
    something is answered.
    """
    sent = team.ask_and_show(
        TeamVerbs.send,
        "sending",
        texts.of_send,
        message=_text(text, file),
        wait=True,
        timeout_seconds=timeout_seconds if wait else _MOMENT_S,
    )
    if wait and sent.status is MessageStatus.BLOCKED:
        return NEEDS_ATTENTION
    return 1 if not sent.success or (wait and sent.status is not MessageStatus.SUBMITTED) else 0


def read(
    team: CliSession,
    instance_id: InstanceArgument,
    *,
    screen: Annotated[bool, typer.Option("--screen", help="Its screen instead of the conversation.")] = False,
    cursor: Annotated[str | None, typer.Option(help="Only what is newer than an earlier read ended with.")] = None,
    lines: Annotated[int, typer.Option(min=1, max=2000, help="Most entries or screen lines.")] = 50,
    full: Annotated[str | None, typer.Option(help="One entry that was shortened, in whole.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what it says from now on, until Ctrl-C.")
    ] = False,
) -> int:
    """Read what an instance was told, answered and did.

    With --follow it ends with 0 when the instance is terminated, and with 4 when the team is brought down.
    """
    if follow:
        if screen or cursor or full:
            raise InvalidRequestError("--follow shows the conversation as it goes on: leave out the other options.")
        return follow_conversation(team, instance_id, lines)
    result = team.ask(TeamVerbs.read, "reading", source="screen" if screen else "conversation")
    team.show(result, views.of_read(result, latest=None if cursor or full else lines))
    return 0


def list_(
    team: CliSession,
    *,
    role: Annotated[Role | None, typer.Option(help="Only these.")] = None,
    parent_id: Annotated[
        str | None,
        typer.Option(
            "--parent", metavar="ID", help="Only those that this one leads.", autocompletion=completion.instances
        ),
    ] = None,
    needs_attention: Annotated[
        bool, typer.Option("--attention", help="Only those that wait for a decision or failed.")
    ] = False,
    include_stopped: Annotated[bool, typer.Option("--all", help="Also those that were terminated.")] = False,
    work: Annotated[
        bool, typer.Option("--work", help="Also commits, changed files, and who would conflict with whom.")
    ] = False,
) -> None:
    """Show the team; those that need attention come first."""
    result = team.ask(TeamVerbs.list, "looking")
    team.show(result, views.of_list(result, _now()))


def wait(
    team: CliSession,
    instance_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="The instances to wait for.", autocompletion=completion.instances),
    ] = None,
    *,
    whole_team: Annotated[bool, typer.Option("--all", help="Wait for the whole team.")] = False,
    until: Annotated[Until, typer.Option(help="All are done; one is; or one needs attention.")] = "idle",
    timeout_seconds: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Longest wait.")] = 600.0,
) -> int:
    """Wait until instances are done or need attention.

    Exits with 1 when the time ran out first, and with 3 when one of them cannot go on by itself. An instance whose
    message is held is not done.
    """
    _check_named("wait for", instance_ids, whole_team=whole_team)
    result = team.ask(TeamVerbs.wait, "waiting")
    team.show(result, views.of_wait(result, until, _now()))
    needed = any(each.needs_attention for each in result.instances)
    if result.reached:
        return NEEDS_ATTENTION if needed and until == "idle" else 0
    return NEEDS_ATTENTION if needed else 1


def _check_named(what: str, instances: Sequence[str] | None, *, whole_team: bool) -> None:
    if bool(instances) == whole_team:
        raise InvalidRequestError(f"Name the instances to {what}, or give --all.")


def respond(
    team: CliSession,
    instance_id: InstanceArgument,
    decision: Annotated[
        Literal["allow", "deny"] | None, typer.Argument(help="Look at `phalanx list` first: the tool and its input.")
    ] = None,
    *,
    option: Annotated[
        str | None, typer.Option(help="Of a dialog or question: the option to choose, in its words or by its number.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="With deny: what to do instead.")] = None,
    permission_id: Annotated[
        str | None,
        typer.Option("--permission", metavar="ID", help="Answer only this request, as `phalanx list --json` names it."),
    ] = None,
) -> None:
    """Answer what an instance waits on, a request or a dialog."""
    if decision is None and option is None:
        raise InvalidRequestError(
            f"Say how: `phalanx respond {instance_id} allow` or `phalanx respond {instance_id} deny`; of a dialog or "
            f"question: `phalanx respond {instance_id} --option 1`."
        )
    team.ask_and_show(TeamVerbs.respond, "answering", texts.of_respond)


def interrupt(
    team: CliSession,
    instances: SomeInstancesArgument = None,
    *,
    whole_team: Annotated[bool, typer.Option("--all", help="All that are alive.")] = False,
) -> int:
    """Stop the current turns of instances; the instances stay. Exits with 1 when one was not interrupted."""
    _check_named("interrupt", instances, whole_team=whole_team)
    if not instances:
        listed = team.ask(TeamVerbs.list, "looking").instances
        instances = [each.instance_id for each in listed if each.status in ALIVE]
    return _for_each(team, TeamVerbs.interrupt, "interrupting", texts.of_interrupt, instances)


def restart(team: CliSession, instances: InstancesArgument) -> int:
    """Start instances again; their conversations go on."""
    result = team.ask_and_show(TeamVerbs.restart, "restarting", texts.of_restart, **_named(instances))
    return 0 if result.success else 1


def recycle(team: CliSession, instances: InstancesArgument) -> int:
    """Go on with a fresh conversation in place of a long one.

    It knows what the long one has summed up for it. Exits with 1 when one of several was refused.
    """
    return _for_each(team, TeamVerbs.recycle, "asking for a summary", texts.of_recycle, instances)


def _for_each(
    team: CliSession,
    verb: Verb[RequestT, ResultT],
    what: str,
    text: Callable[[ResultT], str],
    instance_ids: Sequence[str],
) -> int:
    """Returns the exit code. With --json several are one object each in ``results``; the refused ones in ``errors``."""
    answers = team.ask_each(verb, what, instance_ids)
    done = [answer for answer in answers if not isinstance(answer, PhalanxError)]
    if len(instance_ids) == 1:
        team.show(done[0], text(team.named(done[0])))
        return 0
    errors = [
        {"instanceId": instance_id, **to_wire(answer), "message": team.in_words(answer)}
        for instance_id, answer in zip(instance_ids, answers, strict=True)
        if isinstance(answer, PhalanxError)
    ]
    document = {"results": [each.model_dump(mode="json", by_alias=True) for each in done], "errors": errors}
    lines = [text(team.named(each)) for each in done] if instance_ids else ["There is nobody."]
    if lines or team.output.as_json:
        team.output.show(document, plain("\n".join(lines)))
    return 1 if errors else 0


def limit(
    team: CliSession,
    instance_id: InstanceArgument,
    *,
    tokens: Annotated[int | None, typer.Option(min=1, help="Of itself and all below it together.")] = None,
    instances: Annotated[int | None, typer.Option(min=0, help="Most at once below it.")] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="Levels below it.")] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Only this one may be started below it; may be repeated.")
    ] = None,
    modes: Annotated[
        list[str] | None, typer.Option("--permissions", help="Likewise: only this permission mode.")
    ] = None,
    lift: Annotated[
        list[LimitOption] | None, typer.Option(help="Take the limit of this option away; may be repeated.")
    ] = None,
) -> None:
    """Limit what an instance and all below it may use, or raise that.

    Without an option: show its limits, and what it has used.
    """
    given = {"tokens": tokens, "instances": instances, "depth": depth, "models": models, "permissionModes": modes}
    limits = {name: value for name, value in given.items() if value not in (None, [])}
    lifted = [_LIMITED.get(option, option.value) for option in lift or []]
    both = sorted(limits.keys() & lifted)
    if both:
        raise InvalidRequestError(f"The limit of {both[0]} is both given and lifted: do one of the two.")
    team.ask_and_show(TeamVerbs.limit, "looking", texts.of_limit, limits=limits, lift=lifted)


def attach(team: CliSession, instance_id: InstanceArgument) -> None:
    """Go into an instance's terminal; Ctrl-b d comes back. With --json only say the command."""
    go_into(team, instance_id)


def go_into(team: CliSession, instance_id: str, *, leaves_with_agent: bool = False, notes: Sequence[str] = ()) -> None:
    """``attach`` to the instance of this id or name.

    ``leaves_with_agent``: the terminal is given back when the agent ends, and ``AgentError`` says why when it failed.
    Otherwise its last screen stays, which says why it did. ``notes``: what the person should know. It is said before,
    where it is seen again after leaving, and in the status line of the terminal for some seconds, because tmux takes
    the screen at once.
    """
    found = _to_attach_to(team, instance_id)
    if found.status is Status.FAILED:
        if leaves_with_agent:
            raise AgentError(_why_it_failed(found))
        how = (found.reason or "the agent ended").split(". ")[0]
        words = f"{how}, and nothing reads what you type. `phalanx restart {found.instance_id}` starts it again."
        notes = [f"{results.called(found.instance_id, found.name)}: {words}", *notes]
    tmux = ["tmux", "-S", str(team.home.tmux_socket)]
    attach_to = ["attach-session", "-t", f"={found.session_name}"]
    if team.output.as_json:
        team.output.show({"command": [*tmux, *attach_to]}, "")
        return
    if not team.context.is_terminal():
        raise InvalidRequestError(f"attach needs a terminal. In one, run: {' '.join([*tmux, *attach_to])}")
    command, outside = way_into(team, found, leaves_with_agent=leaves_with_agent, notes=notes)
    for each in notes:
        team.output.say(each)
    goes = "" if found.status is Status.FAILED else " What you type goes to the agent."
    team.output.say(f"To come back: {_way_back(team)}.{goes}")
    if not leaves_with_agent:
        team.context.become(command, outside)
    team.context.enter(command, outside)
    if _has_failed(team, found.session_name):
        ids = [found.instance_id]
        # The team may hear of it later than tmux gives the terminal back.
        team.ask(TeamVerbs.wait, "looking", instance_ids=ids, until="needs_attention", timeout_seconds=_ENDED_S)
        (ended,) = team.ask(TeamVerbs.list, "looking", instance_ids=ids).instances
        raise AgentError(_why_it_failed(ended))


def _has_failed(team: CliSession, session_name: str) -> bool:
    """Whether the agent in this terminal has ended with an exit status other than 0, or by a signal."""
    look = ["tmux", "-S", str(team.home.tmux_socket), "display-message", "-p", "-t", f"={session_name}:"]
    try:
        told = team.context.run([*look, "#{pane_dead} #{pane_dead_status}"], team.context.environment).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.startswith("1") and told != "1 0"


def _why_it_failed(failed: results.InstanceInfo) -> str:
    instance_id = failed.instance_id
    return (
        f"{results.called(instance_id, failed.name)} has ended: {failed.reason or 'nobody knows why'}\n"
        f"`phalanx restart {instance_id}` starts it again, `phalanx terminate {instance_id}` ends it for good."
    )


def way_into(
    team: CliSession, found: results.InstanceInfo, *, leaves_with_agent: bool = False, notes: Sequence[str] = ()
) -> tuple[list[str], Mapping[str, str]]:
    """The program that goes into the terminal of an instance, and its environment; see ``go_into``.

    Raises ``WrongStateError`` when the terminal is on another machine.
    """
    session = found.session_name
    if not _is_here(team, session):
        raise WrongStateError(
            f"The terminal of {found.instance_id} is not on this machine: it runs on {found.host}. "
            f"`phalanx attach {found.instance_id}` there goes into it."
        )
    tmux = ["tmux", "-S", str(team.home.tmux_socket)]
    leave = f"detach-client -s ={session}"
    hook = ["set-hook", "-w", "-t", f"={session}:", "pane-died", leave, ";"] if leaves_with_agent else []
    shown = " ".join([f"To come back: {_way_back(team)}.", *notes])
    note = [";", "display-message", "-d", str(_NOTED_MS), shown.replace("#", "##").replace("%", "%%")]
    outside = {name: value for name, value in team.context.environment.items() if name != "TMUX"}
    return [*tmux, *hook, "attach-session", "-t", f"={session}", *note], outside


def _way_back(team: CliSession) -> str:
    return "Ctrl-b Ctrl-b d (you are inside tmux already)" if "TMUX" in team.context.environment else "Ctrl-b d"


def _to_attach_to(team: CliSession, instance_id: str) -> results.InstanceInfo:
    """The instance. Raises ``PhalanxError`` when it has no terminal, with the reason."""
    (found,) = team.ask(TeamVerbs.list, "looking", instance_ids=[instance_id]).instances
    if found.status is not Status.STOPPED:
        return found
    there = team.ask(TeamVerbs.list, "looking").instances
    if all(each.instance_id != found.instance_id for each in there):
        raise WrongStateError(
            f"{instance_id} was terminated and has no terminal. `phalanx read {instance_id}` shows what it said, "
            "`phalanx spawn` starts a new instance."
        )
    raise WrongStateError(f"{instance_id} is stopped and has no terminal: `phalanx restart {instance_id}` starts it.")


def _is_here(team: CliSession, session_name: str) -> bool:
    look = ["tmux", "-S", str(team.home.tmux_socket), "has-session", "-t", f"={session_name}"]
    try:
        return team.context.run(look, team.context.environment).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return True  # attaching shows tmux's own error


def terminate(
    team: CliSession,
    instances: SomeInstancesArgument = None,
    *,
    whole_team: Annotated[bool, typer.Option("--all", help="The whole team.")] = False,
    cascade: Annotated[bool, typer.Option("--cascade", help="Also those that they lead.")] = False,
) -> int:
    """Stop instances for good. Work is never deleted: what is not merged stays."""
    _check_named("terminate", instances, whole_team=whole_team)
    if not instances:
        instances = [each.instance_id for each in team.ask(TeamVerbs.list, "looking").instances]
    if not instances:
        nobody = results.TerminateResult(success=True, terminated=[])
        team.show(nobody, "There is nobody.")
        return 0
    result = team.ask_and_show(TeamVerbs.terminate, "terminating", views.of_terminate, **_named(instances))
    return 0 if result.success else 1


def merge(
    team: CliSession,
    instance_ids: InstancesArgument,
    *,
    into: Annotated[
        str | None,
        typer.Option(metavar="BRANCH", help="Default: what the directory has checked out that they work on."),
    ] = None,
    check: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="One of merge_checks; must succeed after each merge.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Of the merge commits.")] = None,
    commit_message: Annotated[
        str | None, typer.Option("--commit", metavar="MESSAGE", help="Commit first what idle ones have not committed.")
    ] = None,
) -> int:
    """Merge the work of instances, all or none.

    Exits with 1 when nothing was merged because of a conflict, a failed check or changes that are not committed.
    """
    result = team.ask_and_show(TeamVerbs.merge, "merging", texts.of_merge)
    return 0 if result.success else 1


def sync(
    team: CliSession,
    instance_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Default: all that have a branch.", autocompletion=completion.instances),
    ] = None,
    *,
    from_branch: Annotated[
        str | None, typer.Option("--from", metavar="BRANCH", help="Default: what it began from, as it is now.")
    ] = None,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Longest wait for those at work.")
    ] = 600.0,
) -> int:
    """Bring a branch into those of instances.

    Each gets it when its turn ends. Exits with 1 when one was still at work, conflicts or failed.
    """
    result = team.ask_and_show(TeamVerbs.sync, "waiting for turns to end", texts.of_sync)
    return 0 if result.success else 1


def _named(instances: list[str]) -> dict[str, Any]:
    """One instance by ``instanceId``, which raises its error; of several each fails alone."""
    return {"instance_ids": instances} if len(instances) > 1 else {"instance_id": instances[0]}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _text(argument: str | None, file: Path | None) -> str:
    """The text from the argument, stdin or the file. Raises ``InvalidRequestError`` unless it is exactly one."""
    if (argument is None) == (file is None):
        raise InvalidRequestError("Give the text once: as an argument, as - with it on stdin, or with --file.")
    try:
        if file is not None:
            return file.read_bytes().decode()
        if argument == "-":
            return sys.stdin.buffer.read().decode()
        return str(argument).encode("utf-8", "surrogateescape").decode()
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"The text is not valid UTF-8 at byte {error.start}. Convert it first.") from error


def _json(given: str, option: str) -> dict[str, Any]:
    try:
        value = json.loads(given)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidRequestError(f'{option} takes a JSON object such as {{"tokens": 500000}}, not {given!r}.')
    return value


def _pairs(pairs: list[str], option: str, form: str) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise InvalidRequestError(f"{option} takes {form}, not {pair!r}.")
    return dict(pair.split("=", 1) for pair in pairs)
