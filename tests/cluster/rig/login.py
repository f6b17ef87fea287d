"""Where a user's home is on a host of the rig: the one that sshd gives, whatever ``HOME`` says here."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def login_home() -> Path:
    return Path(pwd.getpwuid(os.getuid()).pw_dir)
