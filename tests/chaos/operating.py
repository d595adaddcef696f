"""The operator beside it all: sets and removes tokens, syncs, rotates keys, moves the portal, and looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from . import links
from .bot import GIANTS, RESIDENTS, ROCKS, SLOW
from .program import Commands, Site
from .witness import Book
from .world import World

# A key costs the fingerprint of every token: a run makes a few.
MOST_KEYS = 5


class Operator(threading.Thread):
    """Types one command after the other until the load ends; some are killed or frozen half-way."""

    def __init__(self, world: World, book: Book, sites: list[Site], commands: Commands, number: int) -> None:
        super().__init__(name=f"operator{number}", daemon=True)
        self.world, self.book, self.sites, self.commands = world, book, sites, commands
        self.rng = world.rng(self.name)
        looks = [("status",), ("check",), ("token", "list"), ("sync", "--dry-run"), ("key", "list")]
        work: list[tuple[int, Callable[[], None]]] = [
            (8, self._set), (3, self._remove), (3, self._set_and_sync),
            (4 if world.plan.rebuilds else 1, self._sync), (3, self._sync_some),
            (3, lambda: self._look(*self.rng.choice(looks))),
            (1, lambda: self._look("explain", "--user", str(self._user()))),
            (1, lambda: self._look("token", "show", str(self._user()))),
        ]  # fmt: skip
        if number == 0:
            # One at a time: the keyring is one file, and so is a configuration.
            work.append((3, self._rotate_keys))
            if world.plan.rebuilds:
                work.append((6, self._reload))
        self._weights, self._work = zip(*work, strict=True)
        self._keys = 1

    def run(self) -> None:
        while self.world.wait(self.rng.uniform(0.1, 1.5)):
            self.rng.choices(self._work, self._weights)[0]()

    def _run(self, *arguments: str, stdin: str = "") -> int | None:
        roll = self.rng.random()
        kill_after = self.rng.uniform(0.01, 1.0) if roll < 0.10 else None
        freeze = self.rng.uniform(0.5, 3.0) if 0.10 <= roll < 0.15 else 0.0
        if kill_after:
            self.world.faults["command killed"] += 1
        if freeze:
            self.world.faults["command frozen"] += 1
        return self.commands.run(
            self.rng.choice(self.sites), *arguments, stdin=stdin, kill_after=kill_after, freeze=freeze
        )[0]

    def _user(self) -> int:
        return self.rng.choice(RESIDENTS + SLOW)

    def _set(self) -> None:
        user, token = self._user(), self.book.new_token(self.rng)
        intent = self.book.means("command", user, token)
        code = self._run("token", "set", str(user), stdin=token + "\n")
        # 7: written, but the links are not yet done. 1: refused, or failed; 5: the database; after both it may stand.
        intent.outcome = "done" if code in (0, 7) else "unknown"

    def _remove(self) -> None:
        user = self._user()
        intent = self.book.means("command", user, None)
        intent.outcome = "done" if self._run("token", "remove", str(user)) in (0, 7) else "unknown"

    def _sync(self) -> None:
        self._run("sync")

    def _sync_some(self) -> None:
        users = self.rng.sample(RESIDENTS, 3) + GIANTS[:1] + ROCKS[:1]
        self._run("sync", *map(str, users))

    def _set_and_sync(self) -> None:
        """Impatient: the daemon is at it, and the same user is synced beside it."""
        user, token = self.rng.choice(GIANTS), self.book.new_token(self.rng)
        self.book.means("command", user, token)
        site = self.rng.choice(self.sites)
        self.commands.run(site, "token", "set", str(user), stdin=token + "\n", kill_after=self.rng.uniform(0.2, 0.5))
        self.commands.run(site, "sync", str(user))

    def _look(self, *arguments: str) -> None:
        self._run(*arguments)

    def _reload(self) -> None:
        """Another portal for both daemons, one after the other, with time between."""
        base = next(base for base in links.BASES if base != self.sites[0].base)
        sites = self.rng.sample(self.sites, 2)
        for site in sites:
            site.write_config(base)
            site.reload()
            time.sleep(self.rng.uniform(0.0, 2.0))
        self.world.count("reload of both daemons")

    def _rotate_keys(self) -> None:
        """A new key, made primary; the daemons are told, or find out. Then everything is sealed under it."""
        site = self.sites[0]
        if self._keys < MOST_KEYS:
            kid = f"k{self._keys}"
            if self.commands.run(site, "key", "generate", "--id", kid)[0] != 0:
                return
            self._keys += 1
            if self.commands.run(site, "key", "promote", kid)[0] != 0:
                return
            if self.rng.random() < 0.5:
                for each in self.sites:
                    each.reload()
        self._run("rekey")
