"""The host's side of ``git_batch``: runs git for single operations and checks that earlier answers still hold.

The host actor calls ``executor.GitExecutor`` in threads. ``model`` imports no git, so any process may hold an
operation.
"""
