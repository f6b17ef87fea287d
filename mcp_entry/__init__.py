"""The ways into a team: the stdio MCP server for a Claude, and the ``phalanx`` command for people."""
