"""Faults of processes, server and network. Each function makes one, waits, and takes it back whatever happens."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2

from .bot import RESIDENTS, SLOW
from .cluster import BOT, DATABASE, Cluster
from .drops import empty_disk, fill_disk
from .program import PASSWORD, Commands, Site
from .server import MAX_CONNECTIONS, ROLE, SUPERUSER
from .world import MODES, World


@dataclass
class Stage:
    """What faults act on, and the randomness of one of them."""

    world: World
    cluster: Cluster
    sites: list[Site]
    commands: Commands
    rng: random.Random

    def site(self) -> Site:
        return self.rng.choice(self.sites)

    def hold(self, shortest: float, longest: float) -> None:
        """The fault lasts; at the end of the load it ends early."""
        self.world.wait(self.rng.uniform(shortest, longest))


@dataclass(frozen=True)
class Fault:
    """A fault: its name, what it needs for itself alone, how often it falls, and what it does."""

    name: str
    needs: frozenset[str]
    weight: int
    make: Callable[[Stage], None]
    modes: frozenset[str] = frozenset(MODES)  # in which it falls


def kill_daemon(stage: Stage) -> None:
    site = stage.site()
    site.kill()
    stage.hold(0.0, 2.0)
    site.start()


def fail_in_file(stage: Stage) -> None:
    """Kills the daemon, or cuts it off, while it works on a drop file: before its commit or after it."""
    site = stage.site()
    claimed = site.spool / "claimed"
    limit = time.monotonic() + 3.0
    while not (claimed.is_dir() and any(claimed.iterdir())):
        if time.monotonic() > limit:
            stage.world.count("no file came to fail in")
            return
        time.sleep(0.0005)
    time.sleep(stage.rng.choice((0.0, 0.005, 0.02)) * stage.rng.random())
    if stage.rng.random() < 0.7:
        site.kill()
        site.start()
    else:
        site.proxy.cut(refuse=False)


def restart_daemon(stage: Stage) -> None:
    site = stage.site()
    site.stop()
    stage.hold(0.0, 1.0)
    site.start()


def freeze_daemon(stage: Stage) -> None:
    site = stage.site()
    site.signal(signal.SIGSTOP)
    try:
        stage.hold(0.2, 8.0)
    finally:
        site.signal(signal.SIGCONT)


def stop_server(stage: Stage) -> None:
    with stage.world.excused():
        stage.cluster.stop(stage.rng.choice(("fast", "immediate")))
        try:
            stage.hold(0.0, 3.0)
        finally:
            stage.cluster.start()


def terminate_backends(stage: Stage) -> None:
    some = stage.rng.choice(("true", "random() < 0.5", "random() < 0.2"))
    stage.cluster.run(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}' and {some}")


def cancel_statements(stage: Stage) -> None:
    stage.cluster.run(f"select pg_cancel_backend(pid) from pg_stat_activity where usename = '{ROLE}'")


def cut_network(stage: Stage) -> None:
    proxy = stage.site().proxy
    proxy.cut(refuse=True)
    try:
        stage.hold(0.0, 3.0)
    finally:
        proxy.calm()


def slow_network(stage: Stage) -> None:
    proxy = stage.site().proxy
    proxy.slow(stage.rng.uniform(0.01, 0.2))
    try:
        stage.hold(1.0, 5.0)
    finally:
        proxy.calm()


def silent_network(stage: Stage) -> None:
    proxy = stage.site().proxy
    proxy.silence(*stage.rng.choice((("up",), ("down",), ("up", "down"))))
    try:
        stage.hold(0.5, 6.0)
    finally:
        proxy.calm(cut=stage.rng.random() < 0.5)


def frozen_connections(stage: Stage) -> None:
    proxy = stage.site().proxy
    proxy.freeze()
    try:
        stage.hold(1.0, 8.0)
    finally:
        proxy.calm()


def cut_in_commit(stage: Stage) -> None:
    """Whether it was committed, nobody is told; half the time the daemon has no time to ask either."""
    site = stage.site()
    if not site.proxy.cut_at_commit(stage.rng, stage.rng.choice(("before", "after", "after")), 3.0):
        stage.world.count("no commit came to be cut")
    elif stage.rng.random() < 0.5:
        site.kill()
        site.start()


def change_password(stage: Stage) -> None:
    stage.cluster.run(f"alter role {ROLE} password 'wrong-password'")
    try:
        terminate_backends(stage)
        stage.hold(0.5, 3.0)
    finally:
        stage.cluster.run(f"alter role {ROLE} password '{PASSWORD}'")


def revoke_grants(stage: Stage) -> None:
    take, give = stage.rng.choice((
        (f"revoke usage on schema relinkd from {ROLE}", f"grant usage on schema relinkd to {ROLE}"),
        (f"alter role {ROLE} nologin", f"alter role {ROLE} login"),
        (f"revoke connect on database {DATABASE} from public, {ROLE}",
         f"grant connect on database {DATABASE} to public, {ROLE}"),
    ))  # fmt: skip
    stage.cluster.run(take)
    try:
        if stage.rng.random() < 0.5:
            terminate_backends(stage)
        stage.hold(0.5, 3.0)
    finally:
        stage.cluster.run(give)


def use_up_connections(stage: Stage) -> None:
    sessions = []
    with stage.world.excused():
        try:
            for _ in range(MAX_CONNECTIONS):
                sessions.append(stage.cluster.connect(BOT))
        except psycopg2.OperationalError:
            pass
        try:
            terminate_backends(stage)
            stage.hold(0.5, 3.0)
        finally:
            for session in sessions:
                session.close()


def lock_rows(stage: Stage) -> None:
    """A stranger's session holds users' rows; the bot waits for them too."""
    with stage.world.excused():
        session = stage.cluster.connect(SUPERUSER)
        try:
            users = stage.rng.sample(RESIDENTS, 5) + SLOW[:1]
            with session.cursor() as cursor:
                cursor.execute("select from users where telegram_id = any(%s) for update", (users,))
                stage.hold(0.5, 3.0)
        finally:
            session.close()


def fill_spool(stage: Stage) -> None:
    site = stage.sites[0]
    fill_disk(site, stage.rng)
    try:
        stage.hold(0.5, 3.0)
    finally:
        empty_disk(site)


PLAIN_FAULTS = [
    Fault("daemon killed", frozenset({"daemon"}), 8, kill_daemon),
    Fault("fails in a drop file", frozenset({"daemon", "network"}), 8, fail_in_file),
    Fault("daemon restarted", frozenset({"daemon", "network"}), 2, restart_daemon),
    Fault("daemon frozen", frozenset({"daemon"}), 5, freeze_daemon),
    Fault("server stopped", frozenset({"server"}), 3, stop_server),
    Fault("backends terminated", frozenset(), 8, terminate_backends),
    Fault("statements cancelled", frozenset(), 3, cancel_statements),
    Fault("network cut", frozenset({"network"}), 5, cut_network),
    Fault("network slow", frozenset({"network"}), 3, slow_network),
    Fault("network silent", frozenset({"network"}), 4, silent_network),
    Fault("connections frozen", frozenset({"network"}), 3, frozen_connections),
    Fault("cut in a commit", frozenset({"network", "daemon"}), 8, cut_in_commit),
    Fault("password changed", frozenset({"server", "role"}), 2, change_password),
    Fault("grants revoked", frozenset({"server", "role", "schema"}), 3, revoke_grants),
    Fault("connections used up", frozenset({"server"}), 2, use_up_connections),
    Fault("rows locked", frozenset({"server"}), 3, lock_rows),
    Fault("disk of spool full", frozenset({"disk"}), 3, fill_spool),
]
