"""The workspaces of instances: worktrees, their branches and saved work.

The host actor calls ``manager.WorktreeManager`` in a thread. ``model`` imports no git, so any process may hold a
``Workspace``; therefore this file imports nothing.
"""
