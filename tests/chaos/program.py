"""relinkd itself, as processes: two daemons with a spool each, and commands. Known by command line and files only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from .cluster import DATABASE, Cluster
from .links import BASES
from .processes import Guardian
from .proxy import Proxy
from .server import ROLE, SUPERUSER
from .world import World

PASSWORD = "right-password"
# What a command may end with: done, failed, refused, changes found, configuration, database, key, in part.
EXITS = set(range(8))
COMMAND_LIMIT = 120.0
STOP_LIMIT = 10.0  # 5 s are promised; the machine is busy

_CONFIG = """
[database]
url = "postgresql://{role}:{password}@{hosts}/{database}?target_session_attrs=read-write"
[portal]
base_url = "{base}"
aliases = ["{alias}"]
tokenless = "{tokenless}"
[keyring]
file = "{keyring}"
[spool]
directory = "{spool}"
rescan = "5s"
[audit]
interval = "{audit}"
"""


class Site:
    """One daemon, its configuration, its spool and its way to the database."""

    def __init__(self, world: World, cluster: Cluster, guardian: Guardian, number: int) -> None:
        self.world, self.number = world, number
        self.proxy = Proxy([server.port for server in cluster.servers])
        self.spool = world.directory / f"spool{number}"
        self.config = world.directory / f"config{number}.toml"
        self.keyring = world.directory / "keyring.toml"
        self.log = world.directory / f"daemon{number}.log"
        self._guardian = guardian
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self.write_config(BASES[0])

    def write_config(self, base: str) -> None:
        """Puts a new configuration in place, whole."""
        self.base = base
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.proxy.ports)
        draft = self.config.with_suffix(".tmp")
        draft.write_text(
            _CONFIG.format(
                role=ROLE, password=PASSWORD, hosts=hosts, database=DATABASE, base=base,
                alias=next(other for other in BASES if other != base), keyring=self.keyring, spool=self.spool,
                tokenless=self.world.plan.tokenless, audit=self.world.plan.audit,
            )
        )  # fmt: skip
        draft.chmod(0o600)
        draft.rename(self.config)

    def start(self) -> None:
        """Starts the daemon, unless it runs."""
        with self._lock:
            if self._process is not None:
                return
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [self.world.plan.binary, "--config", self.config, "run"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
                )  # fmt: skip
            self._guardian.watch(self._process.pid)

    def signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def reload(self) -> None:
        """SIGHUP."""
        with self._lock:
            if self._is_up():
                self.signal(signal.SIGHUP)

    def kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._reap()

    def stop(self) -> None:
        """SIGTERM; says so where it does not end in time with exit status 0."""
        with self._lock:
            if self._process is None or not self._is_up():
                return
            self._process.terminate()
            try:
                status = self._process.wait(STOP_LIMIT)
                if status != 0:
                    self.world.wrong(f"daemon {self.number} ended with status {status} on SIGTERM")
            except subprocess.TimeoutExpired:
                self.world.wrong(f"daemon {self.number} runs on {STOP_LIMIT:.0f} s after SIGTERM")
                self._process.kill()
            self._reap()

    def look_after(self) -> None:
        """Says so where the daemon ended by itself, and starts it again."""
        with self._lock:
            status = self._process.poll() if self._process is not None else None
            if status is not None:
                self.world.wrong(f"daemon {self.number} ended by itself, with status {status}")
                self._reap()
                self.start()

    def _is_up(self) -> bool:
        """A process that has only begun dies of signals that it will catch; a service manager waits for it as well."""
        limit = time.monotonic() + 20.0
        while time.monotonic() < limit:
            if self._process is None or self._process.poll() is not None:
                return False
            if _catches(self._process.pid, signal.SIGHUP) and _catches(self._process.pid, signal.SIGTERM):
                return True
            time.sleep(0.01)
        return False

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._guardian.forget(self._process.pid)
        self._process = None


class Commands:
    """Runs commands, keeps what they say, and looks at how they end."""

    def __init__(self, world: World, cluster: Cluster, guardian: Guardian) -> None:
        self._world, self._cluster, self._guardian = world, cluster, guardian
        self.log = world.directory / "commands.log"
        self._lock = threading.Lock()

    def run(
        self, site: Site, *arguments: str, stdin: str = "", kill_after: float | None = None, freeze: float = 0.0
    ) -> tuple[int | None, str]:
        """Runs a command to its end, or kills it; the exit status (none where it was killed) and standard output."""
        process = subprocess.Popen(
            [self._world.plan.binary, "--config", site.config, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd="/",
            env={**os.environ, "NO_COLOR": "1"}, text=True, errors="replace",
        )  # fmt: skip
        self._guardian.watch(process.pid)
        if freeze:
            time.sleep(0.05)
            process.send_signal(signal.SIGSTOP)
            time.sleep(freeze)
            process.send_signal(signal.SIGCONT)
        begun, killed = time.monotonic(), False
        try:
            out, err = process.communicate(stdin, timeout=kill_after or COMMAND_LIMIT)
        except subprocess.TimeoutExpired:
            killed = True
            process.kill()
            out, err = process.communicate()
        self._guardian.forget(process.pid)
        self._keep(arguments, process.returncode, time.monotonic() - begun, out, err)
        name = " ".join(word for word in arguments[:2] if not word.startswith("-") and not word.isdigit())
        if killed:
            if kill_after is None:
                self._world.wrong(f"`{name}` did not end within {COMMAND_LIMIT:.0f} s")
            return None, out
        if process.returncode not in EXITS:
            self._world.wrong(f"`{name}` ended with status {process.returncode}")
        self._world.count(f"command: {name}")
        return process.returncode, out

    def admin(self, site: Site, *arguments: str) -> int | None:
        """`install` or `uninstall`, as the superuser over the socket."""
        return self.run(site, *arguments, "--admin-url", self._cluster.url(SUPERUSER))[0]

    def install(self, site: Site) -> None:
        """Installs; a long transaction of the bot's may be in the way, so several times."""
        for _ in range(20):
            if self.admin(site, "install") in (0, 7):
                return
            time.sleep(0.5)
        self._world.wrong("`install` failed 20 times")

    def status(self, site: Site) -> dict[str, Any] | None:
        """What `status --json` says; nothing where it fails."""
        code, out = self.run(site, "status", "--json")
        if code != 0:
            return None
        answer: dict[str, Any] = json.loads(out)
        return answer

    def _keep(self, arguments: tuple[str, ...], status: int, took: float, out: str, err: str) -> None:
        with self._lock, self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ relinkd {' '.join(arguments)}\n{out}{err}# status {status}, {took:.2f} s\n")


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for this signal (proc(5), SigCgt)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << (number - 1))
