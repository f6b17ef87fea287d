"""What decides: the verbs, the caps, and who lives where."""
