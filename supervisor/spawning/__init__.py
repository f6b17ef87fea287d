"""Starts instances: admission, a cold start or a warm one from the pool, batches, and rollback.

Everything here runs in the supervisor's event loop.
"""
