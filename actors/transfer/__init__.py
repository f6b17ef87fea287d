"""How code gets to hosts that do not have it, and work comes back from them.

A host packs what another one lacks into a bundle, a git bundle in a file (``bundles``); the other asks for it piece by
piece (the same module), so no more than a piece is ever in memory, and takes it in: on a worker into a bare mirror of
the repository (``repositories``), on the host of the repository into refs and the instance's branch.
"""
