"""Several hosts on one machine, as real as it gets: each has an address, processes, ``/tmp``, home and sshd of its own.

A host is a network namespace on a bridge and, in it, a process namespace whose first process (``host_init``) ends
everything of the host when it is killed, as a power cut does. Needs root, iproute2, util-linux and openssh-server. What
a killed test leaves behind is cleared away by the next rig (``network``).
"""

from tests.cluster.rig.commands import RigError, login_home
from tests.cluster.rig.hosts import RigHost
from tests.cluster.rig.rig import Rig, why_no_rig

__all__ = ["Rig", "RigError", "RigHost", "login_home", "why_no_rig"]
