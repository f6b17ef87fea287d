"""The host's side of ``git_batch``: ``executor`` runs git, ``reads`` also checks that earlier answers still hold."""
