"""How callers reach a team: a Unix socket with one server and any number of clients."""
