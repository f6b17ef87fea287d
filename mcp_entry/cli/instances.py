"""The commands about instances: start, talk to, attach, end.

The commands that start instances, talk to them and end them.

The command that goes into an instance's terminal.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from actors.errors import InvalidRequestError, PhalanxError, UnknownInstanceError, WrongStateError
from actors.messages import MessageStatus
from actors.status import Status
from mcp_entry.cli import views
from mcp_entry.cli.session import CliSession, HomeOption, JsonOption, session
from supervisor.api import results
from supervisor.api.requests import Role
from supervisor.api.results import Result

InstanceArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the instance, as `phalanx list` shows it.")]
InstancesArgument = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Ids of instances, as `phalanx list` shows them.")
]
TextArgument = Annotated[
    str | None, typer.Argument(metavar="[TEXT|-]", help="The text; - reads stdin. After -- it may begin with a dash.")
]
FileOption = Annotated[Path | None, typer.Option("--file", help="Read the text from this file.")]


NEEDS_SOMEBODY = 3
"""The exit status where something goes on only when somebody sees to it; 1 is an error, 2 wrong usage."""


class UntilOption(StrEnum):
    IDLE = "idle"
    ANY_IDLE = "any_idle"
    NEEDS_ATTENTION = "needs_attention"


class DecisionOption(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class PermissionsOption(StrEnum):
    DEFAULT = "default"
    MANUAL = "manual"
    ACCEPT_EDITS = "acceptEdits"
    AUTO = "auto"
    DONT_ASK = "dontAsk"
    PLAN = "plan"
    BYPASS = "bypassPermissions"


class AgentOption(StrEnum):
    CLAUDE = "claude"
    DEMO = "demo"


def spawn(
    context: typer.Context,
    text: TextArgument = None,
    *,
    file: FileOption = None,
    role: Annotated[Role, typer.Option(help="What it is in the team.")] = Role.SPECIALIST,
    directory: Annotated[Path, typer.Option("--dir", help="The directory to work on.")] = Path(),
    shared: Annotated[
        bool, typer.Option("--shared", help="Work in the directory itself, on no branch of its own.")
    ] = False,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="The instance that leads it.")] = None,
    host: Annotated[str | None, typer.Option(help="The machine to run on, as `phalanx hosts` lists it.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What its machine must have; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A label.")] = None,
    agent: Annotated[AgentOption | None, typer.Option(help="The program to run.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to use.")] = None,
    permissions: Annotated[PermissionsOption | None, typer.Option(help="Which tool calls need no asking.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable for it; may be repeated.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start one instance with its first message, the TEXT."""
    with session(context, home, as_json) as team:
        arguments = {
            "role": role.value,
            "workDir": str(directory.expanduser().absolute()),
            "context": _text(text, file),
            "parentId": parent,
            "workspaceMode": "shared" if shared else "isolated",
            "host": host,
            "labels": _pairs(label or [], "--label", "KEY=VALUE"),
            "name": name,
            "agent": agent,
            "model": model,
            "permissionMode": permissions,
            "env": _pairs(env or [], "--env", "NAME=VALUE"),
        }
        _say(team, "spawn", arguments, "starting")


def send(
    context: typer.Context,
    instance: InstanceArgument,
    text: TextArgument = None,
    *,
    file: FileOption = None,
    immediate: Annotated[bool, typer.Option("--immediate", help="Now, without gathering a batch.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it arrived, failed or is held.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="With --wait: longest wait.")] = 120.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an instance a message.

    Exits with 1 when it was refused or, with --wait, is not in the conversation, and with 3 when it is held back until
    something is answered.
    """
    with session(context, home, as_json) as team:
        arguments = {
            "instanceId": instance,
            "message": _text(text, file),
            "immediate": immediate,
            "wait": wait,
            "timeoutSeconds": timeout,
        }
        sent = cast("results.SendResult", _say(team, "send", arguments, "sending"))
    if wait and sent.status is MessageStatus.BLOCKED:
        raise typer.Exit(NEEDS_SOMEBODY)
    if not sent.success or (wait and sent.status is not MessageStatus.SUBMITTED):
        raise typer.Exit(1)


def read(
    context: typer.Context,
    instance: InstanceArgument,
    *,
    screen: Annotated[bool, typer.Option("--screen", help="Its screen instead of the conversation.")] = False,
    cursor: Annotated[str | None, typer.Option(help="Only what is newer than an earlier read ended with.")] = None,
    lines: Annotated[int, typer.Option(min=1, max=2000, help="Most entries or screen lines.")] = 50,
    full: Annotated[str | None, typer.Option(help="One entry that was shortened, in whole.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read what an instance was told, answered and did."""
    with session(context, home, as_json) as team:
        source = "screen" if screen else "conversation"
        arguments = {"instanceId": instance, "source": source, "cursor": cursor, "lines": lines, "full": full}
        result = cast("results.ReadResult", team.ask("read", arguments, "reading"))
        team.output.show(_document(result), views.of_read(result))


def list_(
    context: typer.Context,
    *,
    role: Annotated[Role | None, typer.Option(help="Only these.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Only those that this one leads.")] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Only those that wait for a decision or failed.")
    ] = False,
    everybody: Annotated[bool, typer.Option("--all", help="Also those that were terminated.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the team; those that need attention come first."""
    with session(context, home, as_json) as team:
        arguments = {"role": role, "parentId": parent, "needsAttention": attention, "includeStopped": everybody}
        result = cast("results.ListResult", team.ask("list", arguments, "looking"))
        team.output.show(_document(result), views.of_list(result, _now()))


def wait(
    context: typer.Context,
    instances: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The instances to wait for.")] = None,
    *,
    everybody: Annotated[bool, typer.Option("--all", help="Wait for the whole team.")] = False,
    until: Annotated[UntilOption, typer.Option(help="All are done; one is; or one needs somebody.")] = UntilOption.IDLE,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Longest wait.")] = 600.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait until instances are done or need something.

    Exits with 1 when the time ran out first, and with 3 when one of them cannot go on before somebody decides, answers
    or looks: a message that is held back is not done.
    """
    with session(context, home, as_json) as team:
        if bool(instances) == everybody:
            raise InvalidRequestError("Name the instances to wait for, or give --all.")
        arguments = {"instanceIds": instances or None, "until": until, "timeoutSeconds": timeout}
        result = cast("results.WaitResult", team.ask("wait", arguments, "waiting"))
        team.output.show(_document(result), views.of_wait(result, _now()))
    if code := _exit_code(result, until):
        raise typer.Exit(code)


def _exit_code(result: results.WaitResult, until: UntilOption) -> int:
    somebody = any(each.needs_attention for each in result.instances)
    if result.reached:
        return NEEDS_SOMEBODY if somebody and until is UntilOption.IDLE else 0
    return NEEDS_SOMEBODY if somebody else 1


def respond(
    context: typer.Context,
    instance: InstanceArgument,
    decision: Annotated[
        DecisionOption | None, typer.Argument(help="Look at `phalanx list` first: the tool and its input.")
    ] = None,
    *,
    option: Annotated[
        str | None, typer.Option(help="Of a dialog or question: the option to choose, in its words or by its number.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="With deny: what to do instead.")] = None,
    permission: Annotated[
        str | None, typer.Option(metavar="ID", help="Answer only this request, as `phalanx list --json` names it.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer what an instance waits on, a request or a dialog."""
    with session(context, home, as_json) as team:
        arguments = {
            "instanceId": instance,
            "decision": decision,
            "option": option,
            "message": message,
            "permissionId": permission,
        }
        _say(team, "respond", arguments, "answering")


def interrupt(
    context: typer.Context, instance: InstanceArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Stop an instance's current turn; the instance stays."""
    with session(context, home, as_json) as team:
        _say(team, "interrupt", {"instanceId": instance}, "interrupting")


def restart(
    context: typer.Context, instances: InstancesArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Start instances again; their conversations go on."""
    with session(context, home, as_json) as team:
        result = cast("results.RestartsResult", _say(team, "restart", _named(instances), "restarting"))
    if not result.success:
        raise typer.Exit(1)


def recycle(
    context: typer.Context, instance: InstanceArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Go on with a fresh conversation in place of a long one.

    It knows what the long one has summed up for it.
    """
    with session(context, home, as_json) as team:
        _say(team, "recycle", {"instanceId": instance}, "asking for a summary")


def terminate(
    context: typer.Context,
    instances: InstancesArgument,
    *,
    cascade: Annotated[bool, typer.Option("--cascade", help="Also those that they lead.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop instances for good. Work is never deleted: what is not merged stays."""
    with session(context, home, as_json) as team:
        arguments = {**_named(instances), "cascade": cascade}
        result = cast("results.TerminateResult", _say(team, "terminate", arguments, "terminating"))
    if not result.success:
        raise typer.Exit(1)


def _say(team: CliSession, verb: str, arguments: dict[str, Any], what: str) -> Result:
    result = team.ask(verb, arguments, what)
    team.output.show(_document(result), views.IN_WORDS[verb](result))
    return result


def _named(instances: list[str]) -> dict[str, Any]:
    """One is refused as it always was; of several each fails alone."""
    return {"instanceIds": instances} if len(instances) > 1 else {"instanceId": instances[0]}


def _document(result: Result) -> dict[str, Any]:
    return result.model_dump(mode="json", by_alias=True)


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


def _pairs(pairs: list[str], option: str, form: str) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise InvalidRequestError(f"{option} takes {form}, not {pair!r}.")
    return dict(pair.split("=", 1) for pair in pairs)


def attach(
    context: typer.Context, instance: InstanceArgument, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Go into an instance's terminal; Ctrl-b d comes back. With --json only say the command."""
    with session(context, home, as_json) as team:
        listed = cast("results.ListResult", team.ask("list", {"includeStopped": False}, "looking"))
        found = next((each for each in listed.instances if each.instance_id == instance), None)
        if found is None:
            raise _not_there(team, instance)
        if found.status is Status.STOPPED:
            raise WrongStateError(f"{instance} is stopped and has no terminal: `phalanx restart {instance}` starts it.")
        command = ["tmux", "-S", str(team.home.tmux_socket), "attach-session", "-t", f"={found.session_name}"]
        if as_json:
            team.output.show({"command": command}, "")
            return
        if not team.world.is_terminal():
            raise InvalidRequestError(f"attach needs a terminal. In one, run: {' '.join(command)}")
        if not _is_here(team, found.session_name):
            raise WrongStateError(
                f"The terminal of {instance} is not on this machine: it runs on {found.host}. "
                f"`phalanx attach {instance}` there goes into it."
            )
        outside = {name: value for name, value in team.world.environment.items() if name != "TMUX"}
        nested = len(outside) < len(team.world.environment)
        how = "Ctrl-b Ctrl-b d (you are inside tmux already)" if nested else "Ctrl-b d"
        team.output.say(f"To come back: {how}. What you type goes to the agent.")
        team.world.become([*command, ";", "display-message", "-d", "5000", f"To come back: {how}"], outside)


def _is_here(team: CliSession, session_name: str) -> bool:
    look = ["tmux", "-S", str(team.home.tmux_socket), "has-session", "-t", f"={session_name}"]
    try:
        return team.world.run(look, team.world.environment).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return True  # tmux itself says what is wrong


def _not_there(team: CliSession, instance: str) -> PhalanxError:
    """Why it has no terminal although it may have been in the team."""
    listed = cast("results.ListResult", team.ask("list", {"includeStopped": True}, "looking"))
    if instance in (each.instance_id for each in listed.instances):
        return WrongStateError(
            f"{instance} was terminated and has no terminal. `phalanx read {instance}` shows what it said, "
            "`phalanx spawn` starts a new instance."
        )
    return UnknownInstanceError(f"There is no instance {instance}. `phalanx list` shows who is there.")
