"""Ray on one host of a cluster: started with the options a team needs, and ended by process id.

The cluster launcher runs ``python -m supervisor.ray_node`` on each host (``cluster.yaml``). Imports no Ray.
"""
