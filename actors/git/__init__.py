"""What ``git_batch`` does on a host: runs git for one operation at a time, and proves that earlier answers still hold.

The host actor calls ``executor.GitExecutor`` in threads. ``model`` imports no git, so anybody may hold an operation.
"""
