"""The door for clients: the gateway's socket, its connections, and calls that come twice."""
