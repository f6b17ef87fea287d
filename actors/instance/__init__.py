"""The instance actor: follows one agent, brings messages into it, and reports what it learns.

What an instance learns of its agent: events, transcript, screen, and how it is told on.

The way of a message inside an instance: from its inbox into the agent, with proof.
"""
