"""How code gets to hosts that do not have it, and work comes back from them.

A host packs what another one lacks into a parcel, a git bundle in a file (``outbox``); the other asks for it piece by
piece (``carrying``), so no more than a piece is ever in memory, and takes it in: on a worker into a bare mirror of the
repository (``mirrors``), on the host of the repository into refs and the instance's branch (``homecoming``).
"""
