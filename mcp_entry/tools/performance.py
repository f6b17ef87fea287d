"""Tools that measure the team and tune it."""

from __future__ import annotations

from mcp_entry import performance_texts as texts
from mcp_entry import sizes
from mcp_entry.tools.tool import READS, SETS, tool
from supervisor import requests, results
from supervisor.client import SupervisorClient
from supervisor.verbs import ProgressCallback


@tool("See how the team performs", READS, texts.of_get_performance)
async def get_performance(
    team: SupervisorClient, request: requests.GetPerformanceRequest, on_progress: ProgressCallback
) -> results.GetPerformanceResult:
    """See how well the team runs, what is wrong, and which setting would help. It disturbs no instance.

    Call it when spawns or messages take long, before you start many more instances, or when the user asks how the team
    is. For what an instance does use list; for their work use read.

    Returns performance: score (100 = all is well), lost (why it is less), alerts. recommendations: those with setting
    and value can be given to optimize_settings as they are. metrics of the last windowSeconds, times in ms: instances,
    spawns, messages, git, cache, queues (pending = waiting), pools (spares that are ready), store, hosts (cores,
    memory, disk). queues and messages stand beside metrics too. settings: what applies now. auto: what the supervisor
    did to the spawn cap by itself, and why. history: the window in parts.

    Example: {"windowSeconds": 600}
    """
    return sizes.of_performance(await team.get_performance(request, on_progress))


@tool("Change settings of the team", SETS, texts.of_optimize_settings)
async def optimize_settings(
    team: SupervisorClient, request: requests.OptimizeSettingsRequest, on_progress: ProgressCallback
) -> results.OptimizeSettingsResult:
    """Change how the running team works. It applies at once and is kept for the next team of this home.

    Follow the recommendations of get_performance, or choose a profile by the size of the team: small (under 10
    instances), medium (to 50), large (to 100), very-large. auto true lets the supervisor find the best spawn cap by
    itself. More at once is not always faster: cores and memory are shared. Only what you name is changed; a wrong value
    changes nothing. reset true takes back all that was ever changed here.

    Returns oldSettings and newSettings. Next: look with get_performance whether it helped.

    Example: {"maxConcurrentSpawns": 10, "messageBatchDelay": 200}
    """
    return await team.optimize_settings(request, on_progress)
