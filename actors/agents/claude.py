"""Claude Code as an agent: how it is started; what it says is read by the ``claude_*`` modules."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from actors.agents.base import Launch, LaunchRequest
from actors.agents.claude_record import ClaudeRecord
from actors.agents.options import settings_file, settings_text, start_options
from actors.errors import SettingsError

_ENVIRONMENT = {
    # The program must stay the one that was started, and its input box must hold only what was typed.
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION": "false",
    "CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY": "1",
    # One press of Left at an empty prompt would give the conversation to a daemon, which outlives its pane.
    "CLAUDE_CODE_DISABLE_AGENT_VIEW": "1",
}


@dataclass(frozen=True, slots=True)
class ClaudeAgent(ClaudeRecord):
    """``command`` starts Claude Code and may hold arguments; ``python`` runs the hooks."""

    command: str
    python: str

    @property
    def name(self) -> str:
        return "claude"

    def launch(self, request: LaunchRequest) -> Launch:
        """Raises ``InvalidRequestError`` for a model or mode that is none, ``SettingsError`` for the command."""
        return Launch(
            argv=(*self._program(), *start_options(request)),
            environment={**_ENVIRONMENT, **request.environment},
            files={settings_file(request.instance_directory): settings_text(self.python, request)},
        )

    def _program(self) -> list[str]:
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise SettingsError(f"The command {self.command!r} for Claude Code has a quote too few: {error}.") from None
        if not words:
            raise SettingsError("The command for Claude Code is empty: set PHALANX_CLAUDE_COMMAND, for example claude.")
        return words
