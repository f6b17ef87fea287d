"""How callers reach a team: a Unix socket with one server and any number of clients.

The door for clients: the gateway's socket, its connections, and calls that come twice.

The client's end of the gateway: one call over as many connections as it takes.
"""
