"""What happens in the team: found, stored in one stream, and told to whoever asks."""
