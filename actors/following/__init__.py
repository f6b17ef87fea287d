"""What an instance learns of its agent: events, transcript, screen, and how it is told on."""
