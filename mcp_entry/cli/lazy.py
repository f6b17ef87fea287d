"""Commands that are loaded when they are run: to load them all takes longer than most of them run.

A command is a function of a module of this package. Its line in the list of commands is the head of its docstring,
which is read from the compiled module without running that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from types import CodeType
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mcp_entry.launch import STOPPED

_UsageError: Any = typer.BadParameter.__base__
"""What the parser of arguments raises; typer itself names no other of its kind."""
_PACKAGE = __name__.rpartition(".")[0]


class LazyCommand(TyperCommand):
    """What lists of commands show of one."""

    def __init__(self, place: str, *, in_session: bool = True) -> None:
        """``place``: ``module.function`` in this package. ``in_session``: see ``mcp_entry.cli.session``."""
        self._module, _, self._function = place.partition(".")
        self._in_session = in_session
        super().__init__(self._function.rstrip("_"))

    @cached_property
    def loaded(self) -> Any:
        """The command itself."""
        function: Callable[..., Any] = getattr(import_module(f"{_PACKAGE}.{self._module}"), self._function)
        if self._in_session:
            function = import_module(f"{_PACKAGE}.session").in_session(function)
        alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        alone.command(self.name)(function)
        return get_command(alone)

    def get_short_help_str(self, limit: int = 45) -> str:
        self.help = _docstrings(f"{_PACKAGE}.{self._module}")[self._function]
        return super().get_short_help_str(limit)


def loaded(command: Any) -> Any:
    """The command itself, of one that may be lazy."""
    return command.loaded if isinstance(command, LazyCommand) else command


class LazyGroup(TyperGroup):
    """A group of ``declared`` commands, and of those that are given. A value that its option does not take ends a
    command with exit code 2, Ctrl-C where the command has no words for it with 130."""

    declared: ClassVar[tuple[LazyCommand, ...]] = ()

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = {str(each.name): each for each in self.declared} | dict(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] == "help":
            args = [*args[1:], "--help"]
            if len(args) == 1:
                typer.echo(ctx.get_help())
                raise typer.Exit
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(command), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from pydantic import ValidationError  # noqa: PLC0415 - typer loads it only with a command

            from supervisor.api.validation import value_fault  # noqa: PLC0415 - likewise

            if isinstance(error.__cause__, ValidationError):
                error.message = value_fault(error.__cause__)
            raise
        except _UsageError as error:
            from mcp_entry.cli.usage import hint  # noqa: PLC0415 - only who needs it pays for it

            if error.ctx is not None and (meant := hint(error.ctx.command, error.message)):
                error.message += f". {meant}"
            raise
        except KeyboardInterrupt:
            raise typer.Exit(STOPPED) from None


@cache
def _docstrings(module: str) -> Mapping[str, str]:
    """By function, of a module that is not run for it."""
    spec = find_spec(module)
    loader: Any = spec.loader if spec is not None else None
    functions = [each for each in loader.get_code(module).co_consts if isinstance(each, CodeType)]
    return {each.co_name: str(each.co_consts[0]) for each in functions if each.co_consts}
