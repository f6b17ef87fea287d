"""How well the team works: what is measured, kept, judged and advised, and what is told to those who listen."""
