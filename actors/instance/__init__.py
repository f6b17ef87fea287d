"""The instance actor: it follows one agent, delivers messages to it with proof, and reports what it learns."""
