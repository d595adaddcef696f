"""One run from beginning to end: stage, load and faults, healing, quiet, verdict."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from .bot import RESIDENTS, SLOW, Changer, Clerk, Dawdler, Importer, populate
from .client import Client
from .cluster import BOT, DATABASE, Cluster
from .drops import Dropper, empty_disk
from .faults import Stage
from .judge_files import applied_files, judge_files, judge_silence
from .judge_links import WrongLink, tokens, wrong_links
from .judge_tokens import TokenJudge
from .links import BASES
from .operating import Operator
from .processes import Guardian
from .program import PASSWORD, Commands, Site
from .report import report_waits
from .sealed import Keyring, Unusable, key_of
from .server import ROLE, SUPERUSER
from .storm import Storm
from .witness import SCHEMA, Book
from .world import World

CLERKS = 4
# From the last fault to right links and an empty queue: as long as there is progress, but not for ever.
NO_PROGRESS_LIMIT = 120.0
QUIET_LIMIT = 400.0
# The disk is full while a fault fills it, and not by what the run leaves there: receipts, and rejected files, some of
# them larger than 1 MiB; about 1.6 MB a minute.
SPOOL_DISK_MB, SPOOL_DISK_MB_A_MINUTE = 6, 4
TABLES = Path(__file__).parent.parent / "bot" / "tables.sql"


class Run:
    """All that a run sets up, and takes down again."""

    def __init__(self, world: World, guardian: Guardian) -> None:
        self.world, self.guardian = world, guardian
        self.book = Book()
        self.cluster = Cluster(world.directory, guardian, world.plan.standby)
        self.sites = [Site(world, self.cluster, guardian, number) for number in range(2)]
        self.commands = Commands(world, self.cluster, guardian)
        self.keyring = Keyring(world.directory / "keyring.toml")
        self.clients: list[Client] = []

    def play(self) -> None:
        """The whole of it. What is wrong is in the world's list afterwards."""
        self._set_stage()
        self._storm()
        self._heal()
        self._last_act()
        wrong = self._wait_for_quiet()
        if wrong is None:
            # What is still at work cannot be judged.
            for site in self.sites:
                site.stop()
        else:
            self._judge(wrong)
        judge_silence(self.world, self.cluster, self.sites, self.commands, self.book)
        report_waits(self.world, [wait for client in self.clients for wait in client.waits])

    def _set_stage(self) -> None:
        self.world.say(f"seed {self.world.plan.seed}: starting Postgres")
        self.cluster.create()
        server = self.cluster.connect(SUPERUSER, "postgres")
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute(f"create role {BOT} login")
            cursor.execute(f"create database {DATABASE} owner {BOT}")
        server.close()
        session = self.cluster.connect(BOT)
        with session, session.cursor() as cursor:
            cursor.execute(TABLES.read_text())
        session.close()
        self.cluster.run(SCHEMA)
        populate(self.cluster, self.book, self.world.rng("populate"))
        self._mount_small_disk(self.sites[0].spool)
        for site in self.sites:
            (site.spool / "incoming").mkdir(parents=True)
        self._must("key", "generate", "--offline", "--id", "k0")
        self.keyring.read()
        self.commands.install(self.sites[0])
        self.cluster.run(f"alter role {ROLE} password '{PASSWORD}'")
        self.cluster.add_standby()
        for site in self.sites:
            site.start()

    def _must(self, *arguments: str) -> None:
        if self.commands.run(self.sites[0], *arguments)[0] != 0:
            raise RuntimeError(f"`relinkd {' '.join(arguments)}` failed, see {self.commands.log}")

    def _mount_small_disk(self, path: Path) -> None:
        path.mkdir()
        size = SPOOL_DISK_MB + SPOOL_DISK_MB_A_MINUTE * math.ceil(self.world.plan.seconds / 60)
        options = f"size={size}m,mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "relinkd-chaos", path], check=True)
        self.guardian.mount(str(path))

    def _storm(self) -> None:
        world = self.world
        shared = (world, self.cluster, self.book)
        self.clients = [Clerk(*shared, f"clerk{n}", RESIDENTS[n::CLERKS]) for n in range(CLERKS)]
        self.clients += [Importer(*shared, "importer", RESIDENTS), Dawdler(*shared, "dawdler", SLOW)]
        others: list[threading.Thread] = [
            Dropper(world, self.cluster, self.book, site, Keyring(world.directory / "keyring.toml"))
            for site in self.sites
        ]
        others += [Operator(world, self.book, self.sites, self.commands, number) for number in range(2)]
        for thread in (*self.clients, *others):
            thread.start()
        end = threading.Timer(world.plan.seconds, world.load_ends.set)
        end.daemon = True
        end.start()
        threading.Thread(target=self._look_after, daemon=True).start()
        world.say(f"{world.plan.seconds:.0f} s of load and faults")
        Storm(world, Stage(world, self.cluster, self.sites, self.commands, world.rng("none"))).run()
        for thread in (*self.clients, *others):
            thread.join(180)
            if thread.is_alive():
                world.wrong(f"{thread.name} hangs")

    def _look_after(self) -> None:
        while self.world.wait(0.3):
            for site in self.sites:
                site.look_after()

    def _heal(self) -> None:
        """Each fault takes itself back; what is left are processes."""
        self.world.say("the faults are over")
        for site in self.sites:
            site.proxy.calm()
            empty_disk(site)
            site.signal(signal.SIGCONT)
            site.start()

    def _last_act(self) -> None:
        """What a change of everybody's would mend, were it to come earlier: nothing comes after this."""
        if self.world.plan.rebuilds:
            self.world.note("last act: another portal for one daemon, which dies, and then for the other")
            for site in self.sites:
                site.write_config(next(base for base in BASES if base != site.base))
                site.reload()
                time.sleep(0.3)
                if site is self.sites[0]:
                    site.kill()
                    time.sleep(2.0)
            self.sites[0].start()
        else:
            self.world.note("last act: `sync` while the bot gives new tokens")
            changer = Changer(self.world, self.cluster, self.book, "changer", RESIDENTS)
            self.clients.append(changer)
            changer.start()
            self.commands.run(self.sites[0], "sync")
            changer.enough.set()
            changer.join()

    def _wait_for_quiet(self) -> list[WrongLink] | None:
        """Until all links are right and nothing is waiting, or nothing will mend what is wrong; none where it never
        gets quiet."""
        begun = progress = time.monotonic()
        least: tuple[int, ...] | None = None
        wrong: list[WrongLink] = []
        while True:
            waiting = self._waiting()
            if not any(waiting):
                wrong = self._wrong_links()
                if not wrong:
                    self.world.say(f"quiet and right {time.monotonic() - begun:.1f} s after the last fault")
                    return []
                if self.world.plan.mode != "audits":
                    # Nothing is queued, and no audit will come.
                    return wrong
            now = time.monotonic()
            state = (sum(waiting), len(wrong))
            if least is None or state < least:
                least, progress = state, now
            changes, claims, files = waiting
            said = f"{changes} changes, {claims} claims and {files} files wait, {len(wrong)} links are wrong"
            self.world.note(said)
            if now - progress > NO_PROGRESS_LIMIT or now - begun > QUIET_LIMIT:
                self.world.wrong(f"not quiet {now - begun:.0f} s after the last fault: {said}")
                return wrong if not any(waiting) else None
            for site in self.sites:
                site.look_after()
            time.sleep(0.5)

    def _waiting(self) -> tuple[int, int, int]:
        """Changes, files being worked on, and files that lie in the spools."""
        status = self.commands.status(self.sites[0])
        changes = status["backlog"]["changes"] if status else 1
        claims = sum(len(list((site.spool / "claimed").iterdir())) for site in self.sites)
        files = sum(len(list((site.spool / "incoming").glob("[0-9]*.toml"))) for site in self.sites)
        return changes, claims, files

    def _wrong_links(self) -> list[WrongLink]:
        held = tokens(self.cluster, self.keyring)
        forgotten = self.world.done["uninstalled"] > 0
        return wrong_links(self.cluster, held, self.book, self.sites[0].base, self.world.plan.tokenless, forgotten)

    def _judge(self, wrong: list[WrongLink]) -> None:
        world = self.world
        if wrong:
            users = len({link.user for link in wrong})
            world.wrong(f"{len(wrong)} wrong links of {users} users")
            for link in wrong[:10]:
                world.say(f"  issue {link.issue} of user {link.user}: {link.why}")
        applied = applied_files(self.sites, self.book)
        column = dict(self.cluster.run("select telegram_id, portal_token from users"))
        judge_files(world, self.sites, self.book)
        TokenJudge(world, self.book, self.keyring, self.book.writes(self.cluster)).judge(applied, column)
        self._judge_rekey()
        self._judge_status()
        self._judge_ledger()
        for site in self.sites:
            site.stop()
        rows = self.cluster.run("select count(*) from issues")
        files, writes = len(self.book.files), len(self.book.intents)
        world.say(f"{rows[0][0]} links, {files} files, {writes} writes of tokens looked at")

    def _judge_rekey(self) -> None:
        code, _ = self.commands.run(self.sites[0], "rekey")
        # 7, done in part: values that do not open stay as they are.
        if code not in (0, 7):
            self.world.wrong(f"`rekey` in quiet ended with status {code}")
        self.keyring.read()

    def _judge_status(self) -> None:
        """The numbers of `status`, against the column; the rekey's own changes may still be on their way."""
        held: dict[str, list[int]] = {}
        unusable = plaintext = sealed = 0
        for user, stored in self.cluster.run("select telegram_id, portal_token from users"):
            try:
                token = self.keyring.token(stored, user)
            except Unusable:
                unusable += 1
                continue
            if token is None:
                continue
            held.setdefault(token, []).append(user)
            key = key_of(stored)
            sealed += key is not None
            plaintext += key is None
            if key != self.keyring.primary:
                self.world.wrong(f"the token of user {user} is sealed under {key}, not under the primary key")
        shared = sorted(user for users in held.values() if len(users) > 1 for user in users)
        expected = {"with_token": sealed + plaintext, "sealed": sealed, "plaintext": plaintext,
                    "unusable": unusable, "duplicated": shared}  # fmt: skip
        said: dict[str, object] = {}
        for _ in range(40):
            said = (self.commands.status(self.sites[1]) or {}).get("users", {})
            said = {key: said.get(key) for key in expected}
            if said == expected:
                return
            time.sleep(0.5)
        for key, value in expected.items():
            if said[key] != value:
                self.world.wrong(f"status says users.{key} is {said[key]}, must be {value}")

    def _judge_ledger(self) -> None:
        """No command shows it, so the table is asked; what is not there cannot be full."""
        if self.cluster.run("select to_regclass('relinkd.ledger')")[0][0] is None:
            return
        left = self.cluster.run("select count(*) from relinkd.ledger")[0][0]
        if left:
            self.world.wrong(f"{left} rows are left in the ledger")

    def end(self) -> None:
        """Nothing of it stays but, where something went wrong, its directory."""
        for site in self.sites:
            site.kill()
        self.cluster.end()
        if os.path.ismount(self.sites[0].spool):
            keep = self.world.directory / "spool0-copy"
            shutil.copytree(self.sites[0].spool, keep, symlinks=True)
            subprocess.run(["umount", self.sites[0].spool], check=True)
