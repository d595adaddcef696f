"""The bot's database: a private Postgres, where asked for with a synchronous standby that can take over.

The bot comes over the socket and always finds the primary; relinkd comes over TCP, and finds it by itself.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psycopg2

from .processes import Guardian
from .server import SUPERUSER, Server

DATABASE = "okdesk_bot"
BOT = "okdesk_user"


class Cluster:
    """A primary, and perhaps a standby without which it confirms no commit: so nothing confirmed is lost with it."""

    def __init__(self, directory: Path, guardian: Guardian, with_standby: bool) -> None:
        self.servers = [Server(directory / "postgres0", guardian)]
        if with_standby:
            self.servers.append(Server(directory / "postgres1", guardian))
        self.primary = self.servers[0]

    @property
    def standby(self) -> Server | None:
        others = [server for server in self.servers if server is not self.primary]
        return others[0] if others else None

    def create(self) -> None:
        """Starts the primary, empty."""
        self.primary.initialise()
        self.primary.start()

    def add_standby(self) -> None:
        """Makes the other server, if there is one, a standby of this primary, and relies on it from now on."""
        standby = self.standby
        if standby is not None:
            standby.copy_of(self.primary)
            standby.start()
            self._await_standby("streaming")
            self._rely_on("*")
            self._await_standby("sync")

    def start(self) -> None:
        """Starts the stopped primary again."""
        self.primary.start()
        if self.standby is not None:
            self._await_standby("sync")

    def stop(self, how: str) -> None:
        self.primary.stop(how)

    def lose_standby(self) -> None:
        """From now on no commit is confirmed."""
        assert self.standby is not None
        self.standby.stop("fast")

    def find_standby(self) -> None:
        """The standby is back, and has caught up."""
        assert self.standby is not None
        self.standby.start()
        self._await_standby("sync")

    def promote(self) -> Server:
        """The standby becomes the primary; returns the former one, which is to be out of the way already."""
        former, new = self.primary, self.standby
        assert new is not None
        session = new.connect(SUPERUSER, "postgres")
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("alter system set synchronous_standby_names = ''")
            cursor.execute("select pg_promote(true, 60)")
            cursor.execute("select pg_reload_conf()")
        session.close()
        self.primary = new
        return former

    def connect(self, role: str, database: str = DATABASE, name: str = "chaos") -> Any:
        """A session with the primary."""
        return self.primary.connect(role, database, name)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs statements one by one as the superuser; the rows of the last, where it has any."""
        session = self.connect(SUPERUSER)
        try:
            session.autocommit = True
            with session.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            session.close()

    def url(self, role: str) -> str:
        """The primary as a URI for `--admin-url`."""
        return f"postgresql://{role}@/{DATABASE}?host={self.primary.directory}&port={self.primary.port}"

    def end(self) -> None:
        """Kills all of it."""
        for server in self.servers:
            server.kill()

    def _rely_on(self, names: str) -> None:
        self.run(f"alter system set synchronous_standby_names = '{names}'", "select pg_reload_conf()")

    def _await_standby(self, state: str) -> None:
        """Until the standby streams, and for "sync" until it has all there is."""
        column = "state" if state == "streaming" else "sync_state"
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            try:
                caught_up = self.run(
                    f"select 1 from pg_stat_replication where {column} = '{state}'"
                    " and flush_lsn >= pg_current_wal_flush_lsn() - 1000000"
                )
                if caught_up:
                    return
            except psycopg2.OperationalError:
                pass
            time.sleep(0.05)
        raise RuntimeError("the standby does not come along")
