"""Ray's worker processes, forked from one process of the host that has imported all that they need.

Ray starts a Python for each actor, which takes half a second of a core and 50 MB, nearly all of it for the same
imports. ``ray_start`` is Ray's start command with another program for its workers: ``worker``, which asks the
``fork_server`` of its raylet for a process that has everything. The first one becomes that server.
"""
