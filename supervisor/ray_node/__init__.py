"""Ray on one host of a cluster: started with the options that a team needs, and ended by process id. Imports no Ray.

The cluster launcher runs ``python -m supervisor.ray_node`` on each host (``cluster.yaml``).
"""
