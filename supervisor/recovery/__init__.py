"""Brings records, panes and actors into agreement again, and clears away what terminated instances left."""
