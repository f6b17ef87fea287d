"""Where a team's records are kept: SQLite in the home, and Redis beside it. ``base`` has the protocol."""
