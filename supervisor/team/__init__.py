"""The instances of a team: their records, the links to their actors, their lives, and how callers see them.

Everything here runs in the supervisor's event loop.
"""
