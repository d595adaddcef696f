"""Faults of a primary with a standby: the standby takes over from one that died or stands still, and goes missing."""

from __future__ import annotations

from .cluster import Cluster
from .faults import Fault, Stage
from .server import ROLE

# Two daemons and a few commands; a daemon that opens session after session gets above it.
MOST_SESSIONS = 20


def promote_standby(stage: Stage) -> None:
    """The primary dies, or merely stands still while its connections stay open; the standby takes over. Then the
    former primary is made the standby anew."""
    cluster = stage.cluster
    with stage.world.excused():
        if stage.rng.random() < 0.5:
            cluster.primary.kill()
        else:
            cluster.primary.freeze()
        former = cluster.promote()
        stage.hold(0.5, 6.0)
        former.kill()
        cluster.add_standby()


def lose_standby(stage: Stage) -> None:
    """No commit is confirmed meanwhile; relinkd has to wait, and not to ask again and again in new sessions."""
    cluster = stage.cluster
    with stage.world.excused():
        cluster.lose_standby()
        try:
            stage.hold(1.0, 6.0)
            sessions = _sessions(cluster)
            if sessions > MOST_SESSIONS:
                stage.world.wrong(f"relinkd has {sessions} sessions while no commit is confirmed")
        finally:
            cluster.find_standby()


def _sessions(cluster: Cluster) -> int:
    return int(cluster.run(f"select count(*) from pg_stat_activity where usename = '{ROLE}'")[0][0])


STANDBY_FAULTS = [
    Fault("standby promoted", frozenset({"server", "role", "schema"}), 3, promote_standby),
    Fault("synchronous standby gone", frozenset({"server"}), 3, lose_standby),
]
