"""Who is in the team: records, live ends, and how callers see them."""
