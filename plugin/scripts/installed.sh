#!/bin/sh
# Says to the user, when a session starts, that the program is missing. Its words cost the model nothing.
command -v phalanx-mcp >/dev/null 2>&1 && command -v phalanx >/dev/null 2>&1 && exit 0
cat <<'END'
{"systemMessage": "The plugin phalanx has no tools yet: the programs phalanx and phalanx-mcp are not on the PATH. In a checkout of Phalanx, `uv tool install \"$(scripts/wheel)\"` installs them; then start Claude Code again."}
END
