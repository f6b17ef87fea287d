"""How well the team works: measured, kept, judged and advised, and published to listeners."""
