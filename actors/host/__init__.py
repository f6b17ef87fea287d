"""One machine of a team: its actor starts and ends agents, keeps worktrees and relays the team's socket."""
