"""``scripts/bench --peers``: Phalanx beside what a user would take instead; ``scenarios`` has what is measured."""
