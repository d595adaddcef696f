"""The bot's work: daily business in small transactions, imports of thousands, and transactions that take long."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from psycopg2.extras import execute_batch

from . import links
from .client import ISSUE, Client, numbers
from .cluster import BOT, Cluster
from .witness import Book

RESIDENTS = list(range(100_001, 100_061))  # never deleted
GIANTS = RESIDENTS[:4]  # with thousands of issues
SLOW = list(range(200_001, 200_005))  # their rows are held by long transactions
ROCKS = list(range(300_001, 300_005))  # keep the token they begin with
STRANGERS = list(range(400_001, 400_004))  # have issues, and no row in users

SHIFT = 8.0  # seconds


class Clerk(Client):
    """The bot's daily work, one small transaction after the other."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._guests: list[int] = []
        self._stale: list[tuple[str, dict[str, Any]]] = []
        self._shift: list[int] = []
        self._next_shift = 0.0
        self._guest_ids = itertools.count(self.users[0] * 100_000)
        work: list[tuple[int, Callable[[], None]]] = [
            (20, self._status), (14, self._new_issue), (10, self._rotate), (5, self._remove), (6, self._hand_over),
            (6, self._read_to_write_later), (6, self._write_stale), (4, self._overwrite_link), (3, self._renumber),
            (3, self._start), (2, self._delete_issue), (2, self._delete_guest), (3, self._write_and_hold),
            (3, self._savepoint), (3, self._roll_back), (3, self._several), (1, self._share), (1, self._spoil),
        ]  # fmt: skip
        self._weights, self._work = zip(*work, strict=True)

    def act(self) -> None:
        self.rng.choices(self._work, self._weights)[0]()
        self.commit()
        time.sleep(self.rng.random() * 0.02)

    def _user(self) -> int:
        """Of a few at a time: a user who is written to again and again hides what was lost before."""
        if time.monotonic() > self._next_shift:
            self._next_shift = time.monotonic() + SHIFT
            self._shift = self.rng.sample(self.users, 3)
        return self.rng.choice(self._shift + self._guests[-3:])

    def _status(self) -> None:
        if issue := self.an_issue():
            self.execute(
                "update issues set status = %s, rating = %s, updated_at = now() where id = %s",
                (self.rng.choice(("opened", "closed", "waiting")), self.rng.randrange(6), issue["id"]),
            )

    def _new_issue(self) -> None:
        self.add_issue(self._user())

    def _rotate(self) -> None:
        self.set_token(self._user(), self.book.new_token(self.rng))

    def _remove(self) -> None:
        self.set_token(self._user(), None, stored=self.rng.choice((None, "")))

    def _hand_over(self) -> None:
        """To anybody, a stranger too; sometimes with a fresh login link in the same statement."""
        if issue := self.an_issue():
            heir = self.rng.choice(RESIDENTS + ROCKS + STRANGERS)
            if self.rng.random() < 0.3:
                self._put_link(issue, self.new_link(), heir)
            else:
                self.execute("update issues set telegram_user_id = %s where id = %s", (heir, issue["id"]))

    def _overwrite_link(self) -> None:
        if issue := self.an_issue():
            self._put_link(issue, self.new_link(), issue["telegram_user_id"])

    def _renumber(self) -> None:
        """A link that is written over with one of another number, perhaps while relinkd rewrites the old one."""
        if issue := self.an_issue():
            for _ in range(3):
                self._put_link(issue, self.new_link(), issue["telegram_user_id"])
                self.commit()

    def _put_link(self, issue: dict[str, Any], link: links.Written, owner: int) -> None:
        self.execute(
            "update issues set telegram_user_id = %s, okdesk_issue_id = %s, priority = %s, issue_number = %s,"
            " okdesk_url = %s, description = %s where id = %s",
            (owner, link.number, link.kind, link.tail, link.url, link.url, issue["id"]),
        )

    def _read_to_write_later(self) -> None:
        if self.rng.random() < 0.5:
            user = self._user()
            row = self.execute("select * from users where telegram_id = %s", (user,)).fetchone()
            if row:
                self._stale.append(("users", row))
        elif issue := self.an_issue():
            self._stale.append(("issues", issue))

    def _write_stale(self) -> None:
        """As an ORM does that writes whole objects: all columns, as they were read some time ago."""
        if not self._stale:
            return
        table, row = self._stale.pop(self.rng.randrange(len(self._stale)))
        columns = [column for column in row if column != "id"]
        settings = ", ".join(f"{column} = %s" for column in columns)
        values = tuple(row[column] for column in columns)
        self.execute(f"update {table} set {settings} where id = %s", (*values, row["id"]))

    def _start(self) -> None:
        guest = next(self._guest_ids)
        token = self.book.new_token(self.rng) if self.rng.random() < 0.3 else None
        self.means(guest, token)
        self.execute(
            "insert into users (telegram_id, user_type, full_name, portal_token) values (%s, 'client', 'Guest', %s)",
            (guest, token),
        )
        self._guests.append(guest)

    def _delete_guest(self) -> None:
        """Their issues stay behind, as those of a stranger."""
        if self._guests:
            guest = self._guests.pop(self.rng.randrange(len(self._guests)))
            self._stale = [(table, row) for table, row in self._stale if row.get("telegram_id") != guest]
            self.means(guest, None)
            self.execute("delete from users where telegram_id = %s", (guest,))

    def _delete_issue(self) -> None:
        if issue := self.an_issue():
            self.execute("delete from issues where id = %s", (issue["id"],))

    def _write_and_hold(self) -> None:
        """A row is written, and at once locked again by a transaction that changes nothing relinkd would hear of:
        what has to be done for the first write meets the lock."""
        issue = self.an_issue()
        if not issue:
            return
        self._put_link(issue, self.new_link(), issue["telegram_user_id"])
        user = self._user()
        self.set_token(user, self.book.new_token(self.rng))
        self.commit()
        self.execute("update issues set status = 'waiting' where id = %s", (issue["id"],))
        self.execute("update users set phone = '1' where telegram_id = %s", (user,))
        time.sleep(self.rng.uniform(0.0, 0.3))

    def _savepoint(self) -> None:
        user = self._user()
        self.add_issue(user)
        self.execute("savepoint s")
        before = len(self._meant)
        self.set_token(user, self.book.new_token(self.rng))
        self.execute("rollback to savepoint s")
        for intent in self._meant[before:]:
            intent.outcome = "not done"
        del self._meant[before:]
        self.add_issue(user)

    def _roll_back(self) -> None:
        user = self._user()
        self.set_token(user, self.book.new_token(self.rng))
        self.add_issue(user)
        self.rollback()

    def _several(self) -> None:
        """A rotation twice over, a hand-over and an issue, in one transaction."""
        user = self._user()
        self.set_token(user, self.book.new_token(self.rng))
        self._hand_over()
        self.set_token(user, self.book.new_token(self.rng))
        self.add_issue(user)

    def _share(self) -> None:
        """The bot gives a user the token of another one: relinkd has to report that, and to live with it."""
        token = self.book.new_token(self.rng)
        for user in self.rng.sample(self.users, 2):
            self.set_token(user, token)

    def _spoil(self) -> None:
        value = self.rng.choice(("two words", "relinkd:v1:nokey:AAAA", "relinkd:v2:x:y", "ключ"))
        self.set_token(self.rng.choice(self.users), None, stored=value)


class Importer(Client):
    """Thousands of issues in one statement, and thousands that go again."""

    def act(self) -> None:
        if not self.world.wait(self.rng.uniform(1.0, 4.0)):
            return
        count = self.rng.randrange(500, 3000)
        total = self.execute("select count(*) as n from issues").fetchone()["n"]
        if total > 30_000:
            self.execute(
                "delete from issues where id in (select id from issues where title = 'import' order by id limit %s)",
                (count * 3,), bulk=True,
            )  # fmt: skip
            self.commit()
            return
        first = next(numbers)
        for _ in range(count):
            next(numbers)
        owners = self.rng.choice((GIANTS[:1], GIANTS[:2], RESIDENTS, RESIDENTS + ROCKS + STRANGERS))
        base = self.rng.choice(links.BASES)
        self.execute(
            "insert into issues (telegram_user_id, okdesk_issue_id, title, status, priority, issue_number, okdesk_url)"
            " select (%s::bigint[])[1 + n %% %s], n, 'import', 'opened', 'issue', '', %s || '/issues/' || n"
            " from generate_series(%s, %s) n",
            (owners, len(owners), base, first, first + count - 1), bulk=True,
        )  # fmt: skip
        self.commit()
        self.world.count("bot: imported issues, thousands" if count >= 1000 else "bot: imported issues, hundreds")


class Changer(Client):
    """New tokens for everybody, those with thousands of issues first, until it is told to end."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.enough = threading.Event()

    def act(self) -> None:
        for user in [*GIANTS, *self.rng.sample(self.users, 10)]:
            self.set_token(user, self.book.new_token(self.rng))
            self.commit()
            if self.enough.wait(0.02):
                return


class Dawdler(Client):
    """Long transactions, over users that no other client touches; drop files and relinkd meet their locks."""

    def act(self) -> None:
        user = self.rng.choice(self.users)
        self.set_token(user, self.book.new_token(self.rng) if self.rng.random() < 0.8 else None)
        self.add_issue(user)
        self.world.wait(self.rng.uniform(0.5, 5.0))
        self.add_issue(user)
        if self.rng.random() < 0.3:
            self.rollback()
        else:
            self.commit()


def populate(cluster: Cluster, book: Book, rng: random.Random) -> None:
    """What is there before relinkd is: users, some with a token, and issues."""
    session = cluster.connect(BOT)
    with session, session.cursor() as cursor:
        for user in RESIDENTS + SLOW + ROCKS:
            token = book.new_token(rng) if user in ROCKS or rng.random() < 0.5 else None
            book.means("bot", user, token).outcome = "done"
            cursor.execute(
                "insert into users (telegram_id, user_type, full_name, portal_token) values (%s, 'client', 'U', %s)",
                (user, token),
            )
        rows = []
        for user in RESIDENTS + SLOW + ROCKS + STRANGERS:
            for _ in range(2500 if user in GIANTS else 30):
                link = links.write(rng, next(numbers), book.new_login_token(rng))
                rows.append((user, link.number, link.kind, link.tail, link.url, link.url))
        execute_batch(cursor, ISSUE, rows, page_size=500)
    session.close()
