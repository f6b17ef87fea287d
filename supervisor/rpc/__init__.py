"""The team's Unix socket: its server, its client, and calls that may be repeated."""
