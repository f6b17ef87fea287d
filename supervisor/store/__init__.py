"""Where a team's records are kept: SQLite in the home, mirrored in Redis if configured.

``base`` has the protocol, ``choice`` says which store a team has.
"""
