"""What starting a process of Ray loads, with the real Ray; it is paid once for each instance."""

import os
import subprocess
import sys

from supervisor.runtime.environment import python_path

_LOADED = """
import sys
import ray, ray.actor, ray._private.node
print(*sorted({"jsonschema.validators", "urllib3", "requests.sessions"} & sys.modules.keys()))
import jsonschema, requests
jsonschema.validate({"a": 1}, {"type": "object"})
print(requests.Session().headers["User-Agent"].partition("/")[0])
try:
    jsonschema.validate(1, {"type": "string"})
except jsonschema.ValidationError:
    print("refused")
"""


def test_a_process_of_ray_loads_libraries_that_it_hardly_uses_when_it_uses_them() -> None:
    environment = {**os.environ, **python_path()}
    shown = subprocess.run(
        [sys.executable, "-P", "-c", _LOADED], env=environment, check=True, capture_output=True, text=True, timeout=60
    )

    assert shown.stdout.splitlines() == ["", "python-requests", "refused"]
