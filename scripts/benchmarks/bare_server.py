"""The floor of the entry's start: a stdio server of the official SDK with one tool and nothing else."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")


@server.tool()
def echo(text: str) -> str:
    """Gives the text back."""
    return text


if __name__ == "__main__":
    server.run("stdio")
