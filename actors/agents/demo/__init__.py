"""A program that behaves like Claude Code in a real pane, without a model: keys, screen, hooks, transcript, dialogs.

Started by its path with an isolated interpreter (see ``DemoAgent``); imports the standard library and its own files
only. What differs from Claude Code where Phalanx can see it is a bug here. One process, one thread, one poll without a
timeout: idle it costs nothing. Values are named tuples, because importing ``dataclasses`` would cost as much as all the
rest of the start.
"""
