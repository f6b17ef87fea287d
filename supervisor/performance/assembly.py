"""How the desks of performance and tuning are put together."""

from __future__ import annotations

from actors.home import Home
from supervisor.desk import Desk
from supervisor.performance.desk import PerformanceDesk, PerformanceParts
from supervisor.performance.events import Events
from supervisor.performance.keeper import HistoryKeeper
from supervisor.performance.monitor import Monitor, Watched
from supervisor.performance.watch import Watch
from supervisor.tuning.desk import TuningDesk
from supervisor.tuning.self_tuning import SelfTuning
from supervisor.tuning.values import Tuning


def performance_desks(home: Home, watched: Watched, keeper: HistoryKeeper, configured: Tuning) -> tuple[Desk, ...]:
    """``configured``: what applies without anything that was changed while a team ran."""
    meters = watched.roll.meters
    self_tuning = SelfTuning(watched.tunables, watched.permits, meters, watched.hosts)
    monitor, events = Monitor(watched), Events()
    performance = PerformanceDesk(
        PerformanceParts(
            monitor=monitor,
            meters=meters,
            keeper=keeper,
            unreadable=watched.roll.unreadable,
            events=events,
            watch=Watch(monitor, events),
            auto_steps=lambda: self_tuning.steps,
        )
    )
    return performance, TuningDesk(home, watched.tunables, self_tuning, configured)
