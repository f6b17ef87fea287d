"""The directory that Ray's processes have on their path first; see ``sitecustomize``."""
