"""Where an instance works: the only package that knows git.

The host actor calls ``manager.WorktreeManager`` in a thread. ``model`` imports no git, so anybody may hold a
``Workspace``; that is why nothing is imported here.
"""
