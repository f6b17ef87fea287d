"""The way of a message inside an instance: from its inbox into the agent, with proof."""
