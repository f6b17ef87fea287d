"""The rules by which a team is judged; pure. Each yields what it finds, nothing when all is well.

An idle team on a machine with room breaks none of them.
"""

from __future__ import annotations

from supervisor.performance.facts import Facts
from supervisor.performance.findings import Finding, Rule
from supervisor.performance.rules.git import git_rules
from supervisor.performance.rules.instances import instance_rules
from supervisor.performance.rules.machine import machine_rules
from supervisor.performance.rules.messages import message_rules
from supervisor.performance.rules.spawning import spawning_rules
from supervisor.performance.rules.state import state_rules

_RULES: tuple[Rule, ...] = (
    *machine_rules,
    *state_rules,
    *instance_rules,
    *spawning_rules,
    *message_rules,
    *git_rules,
)


def judge(facts: Facts) -> list[Finding]:
    """What is to say of the team, the costliest first."""
    found = [finding for rule in _RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: -finding.points)
