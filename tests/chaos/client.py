"""A session of the bot's: it writes as the bot in the field does, and measures how long it waits.

Each client writes only rows of users of its own, so no client ever waits for another one's lock: whoever waits here
waits for relinkd, or for a fault. Who else writes tokens of the same users are drop files and commands.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import errors
from psycopg2.extras import RealDictCursor

from . import links
from .cluster import BOT, Cluster
from .witness import Book, Intent
from .world import World

ISSUE = (
    "insert into issues (telegram_user_id, okdesk_issue_id, title, status, priority, issue_number, okdesk_url,"
    " description, created_at) values (%s, %s, 'title', 'opened', %s, %s, %s, %s, now())"
)
numbers = itertools.count(1)


@dataclass(frozen=True)
class Wait:
    """How long a statement took, and when."""

    start: float
    end: float
    bulk: bool
    what: str

    @property
    def took(self) -> float:
        return self.end - self.start


class Client(threading.Thread):
    """One session of the bot; subclasses say what it does."""

    def __init__(self, world: World, cluster: Cluster, book: Book, name: str, users: list[int]) -> None:
        super().__init__(name=name, daemon=True)
        self.world, self.cluster, self.book = world, cluster, book
        self.rng = world.rng(name)
        self.users = users
        self.enough = world.load_ends
        self.waits: list[Wait] = []
        self._session: Any = None
        self._cursor: Any = None
        self._meant: list[Intent] = []

    def act(self) -> None:
        """One transaction or a few."""
        raise NotImplementedError

    def run(self) -> None:
        while not self.enough.is_set():
            begun = time.monotonic()
            try:
                if self._session is None:
                    self._connect()
                self.act()
            except errors.DeadlockDetected:
                self.world.wrong(f"{self.name} was the victim of a deadlock")
                self._give_up("not done")
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                # The connection is gone, in a statement or before one: nothing of this transaction is committed.
                self.world.count("bot: connections lost")
                self._give_up("not done")
                self.world.wait(0.1)
            except psycopg2.Error as error:
                if not self.world.is_excused(begun, time.monotonic()):
                    self.world.wrong(f"{self.name} could not write: SQLSTATE {error.pgcode} {type(error).__name__}")
                self._give_up("not done")
        self._give_up("not done")

    def execute(self, sql: str, parameters: tuple[Any, ...] = (), bulk: bool = False) -> Any:
        """A statement, measured; returns the cursor."""
        start = time.monotonic()
        self._cursor.execute(sql, parameters)
        self.waits.append(Wait(start, time.monotonic(), bulk, " ".join(sql.split()[:3])))
        return self._cursor

    def commit(self) -> None:
        start = time.monotonic()
        try:
            self._session.commit()
        except psycopg2.Error:
            # Committed or not, the answer is lost.
            self._settle("unknown")
            raise
        self.waits.append(Wait(start, time.monotonic(), False, "commit"))
        self._settle("done")
        self.world.count("bot: transactions")

    def rollback(self) -> None:
        self._session.rollback()
        self._settle("not done")

    def means(self, user: int, token: str | None) -> Intent:
        """To be called before the write."""
        intent = self.book.means("bot", user, token)
        self._meant.append(intent)
        return intent

    def set_token(self, user: int, token: str | None, stored: str | None = None) -> None:
        intent = self.means(user, token)
        value = stored if stored is not None else token
        self.execute("update users set portal_token = %s where telegram_id = %s", (value, user))
        if self._cursor.rowcount == 0:
            # A guest whose coming was rolled back.
            self._meant.remove(intent)
            intent.outcome = "not done"

    def add_issue(self, user: int) -> None:
        link = self.new_link()
        self.execute(ISSUE, (user, link.number, link.kind, link.tail, link.url, link.url))

    def new_link(self) -> links.Written:
        return links.write(self.rng, next(numbers), self.book.new_login_token(self.rng))

    def an_issue(self) -> dict[str, Any] | None:
        """Some issue of one of its users."""
        row: dict[str, Any] | None = self.execute(
            "select * from issues where telegram_user_id = %s offset %s limit 1",
            (self.rng.choice(self.users), self.rng.randrange(20)),
        ).fetchone()
        return row

    def _connect(self) -> None:
        self._session = self.cluster.connect(BOT, name=self.name)
        self._cursor = self._session.cursor(cursor_factory=RealDictCursor)

    def _settle(self, outcome: str) -> None:
        for intent in self._meant:
            intent.outcome = outcome
        self._meant.clear()

    def _give_up(self, outcome: str) -> None:
        self._settle(outcome)
        if self._session is not None:
            with contextlib.suppress(psycopg2.Error):
                self._session.close()
        self._session = None
