"""Wrong usage in the words of the house: typer hands on what its parser of values says to programmers."""

from __future__ import annotations

from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from supervisor.api.faults import tell_value


class Commands(TyperGroup):
    """The commands; a value that is none of its option or argument ends one as before, with 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = tell_value(error.__cause__)
            raise
