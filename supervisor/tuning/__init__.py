"""Settings that change while the team runs: their values, who is told, and the spawn cap that tunes itself."""
