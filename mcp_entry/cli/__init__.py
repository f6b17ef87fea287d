"""The ``phalanx`` command: people lead and look after a team with it. Owns nothing; asks the supervisor or the runtime.

Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage. With ``--json`` stdout carries one
JSON document and nothing else.
"""

from mcp_entry.cli.app import main

__all__ = ["main"]
