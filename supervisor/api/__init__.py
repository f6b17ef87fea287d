"""What callers may ask of a team and what they get back: requests, results, errors and the table of verbs."""
