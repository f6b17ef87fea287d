"""The supervisor of a team: its verbs, caps and placement, and what it is built of."""
