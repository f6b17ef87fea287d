"""Where an instance works: the only package that knows git.

The host actor calls ``workspaces.Workspaces`` in a thread. ``values`` imports no git, so anybody may hold a
``Workspace``; that is why nothing is imported here.
"""
