"""``git_batch``: what decides which git operation runs when, shares what is the same and keeps answers.

The host runs git (``actors.git``). Here nothing is read from a repository.
"""
