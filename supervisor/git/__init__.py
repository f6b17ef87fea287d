"""The verb ``git_batch``: which git operation runs when, on which host, and which answers are kept.

The host runs git (``actors.git``). Nothing here reads a repository.
"""
