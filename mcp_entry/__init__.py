"""How people and Claudes reach a team: the stdio MCP server and the ``phalanx`` command."""
