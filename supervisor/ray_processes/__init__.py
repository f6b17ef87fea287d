"""Ray's own processes as a team has them: fewer, and with one set of imports for all workers of a host.

Ray starts a Python for each actor, which takes half a second of a core and 50 MB, nearly all of it for the same
imports. ``ray_start`` is Ray's start command with another program for its workers: ``worker``, which asks the
``fork_server`` of its raylet for a process that has everything. The first one becomes that server. The command leaves
out the process of the dashboard, of which a team uses nothing, and waits for the end of a server as ``head_wait``.
"""
