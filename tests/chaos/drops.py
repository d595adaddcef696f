"""Who drops files into a spool: good ones, swaps, and every kind of bad one; each with the fate it must have."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence

from .bot import RESIDENTS, ROCKS, SLOW
from .cluster import Cluster
from .program import Site
from .sealed import Keyring, Unusable
from .witness import Book, DropFile
from .world import World

_BAD: dict[str, bytes] = {
    "no toml": b"telegram_id = \n",
    "not utf-8": b'telegram_id = 100001\ntoken = "\xff\xfe"\n',
    "unknown key": b'telegram_id = 100001\ntoken = "1234567"\nuser = 1\n',
    "neither": b"telegram_id = 100001\n",
    "empty": b"# nothing\n",
    "bad token": b'telegram_id = 100001\ntoken = "with space"\n',
    "out of range": b'telegram_id = 99999999999999999999\ntoken = "1234567"\n',
    "too large": b"# " + b"x" * (1024 * 1024 + 1) + b"\n",
}


class Dropper(threading.Thread):
    """Drops files into one spool until the load ends."""

    def __init__(self, world: World, cluster: Cluster, book: Book, site: Site, keyring: Keyring) -> None:
        super().__init__(name=f"dropper{site.number}", daemon=True)
        self.world, self.cluster, self.book, self.site = world, cluster, book, site
        self.keyring = keyring
        self.rng = world.rng(self.name)
        self._count = 0
        self._arrived = 0

    def run(self) -> None:
        self._drop_symlink()
        kinds: list[tuple[int, Callable[[], None]]] = [
            (12, self._many), (6, self._single), (4, self._swap), (3, self._bad), (2, self._held),
            (2, self._twice), (2, self._unknown),
        ]  # fmt: skip
        weights, works = zip(*kinds, strict=True)
        while self.world.wait(self.rng.uniform(0.02, 1.0)):
            self.rng.choices(works, weights)[0]()

    def _many(self) -> None:
        count = 30 if self.rng.random() < 0.03 else self.rng.choice((2, 3, 5))
        users = self.rng.sample(RESIDENTS + SLOW, count)
        self._drop("many", "applied", [(user, self._token_or_none()) for user in users])

    def _single(self) -> None:
        self._drop("single", "applied", [(self.rng.choice(RESIDENTS), self._token_or_none())], single=True)

    def _swap(self) -> None:
        """Two users change tokens, as they stand at this moment. Should the bot, or the other spool, give one of
        them to a third before the file is taken, the file is refused: both are right."""
        users = self.rng.sample(RESIDENTS, 2)
        held = self._held_now(users)
        if len(held) == 2 and held[users[0]] != held[users[1]]:
            self._drop("swap", "either", [(users[0], held[users[1]]), (users[1], held[users[0]])])

    def _held(self) -> None:
        """A token that somebody else holds, and never gives up."""
        rock = self.rng.choice(ROCKS)
        held = self._held_now([rock])
        if held:
            others = [(self.rng.choice(RESIDENTS), held[rock])]
            self._drop("held by another", "rejected", others)

    def _twice(self) -> None:
        first, second = self.rng.sample(RESIDENTS, 2)
        token = self.book.new_token(self.rng)
        self._drop("same token twice", "rejected", [(first, token), (second, token)])

    def _unknown(self) -> None:
        users = [(self.rng.choice(RESIDENTS), self.book.new_token(self.rng)), (999, self.book.new_token(self.rng))]
        self._drop("unknown user", "rejected", users)

    def _bad(self) -> None:
        kind, content = self.rng.choice(list(_BAD.items()))
        self._put(DropFile(self._next_name(), self.site.number, kind, content, "rejected"))

    def _drop_symlink(self) -> None:
        file = DropFile("link.toml", self.site.number, "symbolic link", b"", "left")
        self.book.drops(file)
        (self.site.spool / "incoming" / file.name).symlink_to("/etc/hostname")

    def _token_or_none(self) -> str | None:
        return self.book.new_token(self.rng) if self.rng.random() < 0.85 else None

    def _held_now(self, users: list[int]) -> dict[int, str]:
        try:
            rows = self.cluster.run(
                "select telegram_id, portal_token from users where telegram_id in "
                f"({', '.join(map(str, users))}) and portal_token <> ''"
            )
        except Exception:  # the server may be down; then there is no such file this time
            return {}
        held = {}
        for user, stored in rows:
            try:
                token = self.keyring.token(stored, user)
            except Unusable:
                continue
            if token:
                held[user] = token
        return held

    def _drop(
        self, kind: str, expected: str, assignments: Sequence[tuple[int, str | None]], single: bool = False
    ) -> None:
        content = _toml(assignments, single)
        file = DropFile(self._next_name(), self.site.number, kind, content, expected, list(assignments))
        self._put(file)

    def _next_name(self) -> str:
        self._count += 1
        return f"{self.site.number}-{self._count:05}.toml"

    def _put(self, file: DropFile) -> None:
        """Delivers as a careful producer does, by a rename; or as a careless one, in two pieces under the last name."""
        incoming = self.site.spool / "incoming"
        final, draft = incoming / file.name, incoming / f".{file.name}.tmp"
        careless = self.rng.random() < 0.15
        self.book.drops(file)
        try:
            if careless:
                half = len(file.content) // 2
                with final.open("wb", buffering=0) as target:
                    target.write(file.content[:half])
                    os.fsync(target.fileno())
                    time.sleep(0.05)
                    target.write(file.content[half:])
            else:
                draft.write_bytes(file.content)
                self._arrived += 1
                file.order = self._arrived
                draft.rename(final)
        except OSError:
            # The disk is full. A careless producer leaves half a file, whose fate nobody can foretell.
            file.expected = "any" if careless else "gone"
            draft.unlink(missing_ok=True)
            return
        self.world.count(f"file: {file.kind}")


def _toml(assignments: Sequence[tuple[int, str | None]], single: bool) -> bytes:
    lines = []
    for user, token in assignments:
        what = "remove = true" if token is None else f'token = "{token}"'
        lines.append(("" if single else "[[assignment]]\n") + f"telegram_id = {user}\n{what}\n")
    return "\n".join(lines).encode()


def fill_disk(site: Site, rng: random.Random) -> None:
    """Takes all the room that is left on the spool's file system."""
    with (site.spool / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * rng.choice((512, 4096)))
        except OSError:
            pass


def empty_disk(site: Site) -> None:
    (site.spool / "ballast").unlink(missing_ok=True)
