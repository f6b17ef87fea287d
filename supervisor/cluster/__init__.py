"""The hosts of a cluster: where an instance is placed, how a call reaches its host, how instances move between hosts.

On one machine there is one host and nothing here runs. In a cluster, ``HostRouter`` stands in for that one host: the
supervisor calls it as before.
"""
