"""The first directory on the path of Ray's processes; see ``sitecustomize``."""
