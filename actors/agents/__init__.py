"""The kinds of program that can run in a pane, and how each is started and read."""
