"""Spare agents and worktrees, kept ready so that a spawn need not wait for them."""
