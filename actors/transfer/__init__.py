"""Moves code to hosts without the repository, and work back.

The sending host packs what the other lacks into a git bundle file (``bundles``). The other downloads it piece by piece,
so only one piece is in memory, and unpacks it: on a worker into a bare mirror of the repository, on the repository's
host into refs and the instance's branch (``repositories``). ``service`` is the host's interface.
"""
