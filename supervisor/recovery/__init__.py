"""What brings a team together again after a crash, and what clears away its remains."""
