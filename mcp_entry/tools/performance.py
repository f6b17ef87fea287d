"""Tools that measure the team and tune it."""

from __future__ import annotations

from mcp_entry import performance_texts as texts
from mcp_entry import sizes
from mcp_entry.tools.tool import READS, SETS, tool
from supervisor.api import requests, results
from supervisor.api.verbs import ProgressCallback
from supervisor.rpc.client import SupervisorClient


@tool("See how the team performs", READS, texts.of_get_performance)
async def get_performance(
    team: SupervisorClient, request: requests.GetPerformanceRequest, on_progress: ProgressCallback
) -> results.GetPerformanceResult:
    """See how well the team runs, what is wrong, and which setting would help. It disturbs no instance.

    Call it when spawns or messages take long, before you start many more, or when the user asks how the team is.

    Returns performance: score (100 = all is well), lost (each reason), alerts. recommendations: those with setting and
    value can be given to optimize_settings. metrics of the last windowSeconds, times in ms; pending = waiting, pools =
    spares. auto: what was done to the spawn cap by itself.

    Example: {"windowSeconds": 600}
    """
    return sizes.of_performance(await team.get_performance(request, on_progress))


@tool("Change settings of the team", SETS, texts.of_optimize_settings)
async def optimize_settings(
    team: SupervisorClient, request: requests.OptimizeSettingsRequest, on_progress: ProgressCallback
) -> results.OptimizeSettingsResult:
    """Change how the running team works, at once and for the next team of this home.

    Follow get_performance, or choose a profile by the size of the team. More at once is not always faster: cores and
    memory are shared. Only what you name is changed; a wrong value changes nothing.

    Returns oldSettings and newSettings. Next: look with get_performance whether it helped.

    Example: {"maxConcurrentSpawns": 10, "messageBatchDelay": 200}
    """
    return await team.optimize_settings(request, on_progress)
