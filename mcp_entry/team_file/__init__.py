"""Teams by file: ``phalanx team up TEAM.yaml``."""
