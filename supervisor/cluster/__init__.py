"""A team's hosts: which there are, where an instance is placed, and how a call reaches the host that it is about.

On one machine there is one host and nothing here has a part. In a cluster that was joined, ``HostRouter`` stands where
that one host stood: the supervisor asks it as before.
"""
