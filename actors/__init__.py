"""What runs on a host beside the agents: instances, hosts, terminals, workspaces."""
