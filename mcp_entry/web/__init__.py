"""The endpoint at which the instances of a host call their team: MCP over HTTP on the loopback interface."""
