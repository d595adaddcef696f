"""One Postgres server in a directory of its own: its processes, and how it becomes a primary's standby."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg2

from .processes import Guardian

SUPERUSER = "postgres"
ROLE = "relinkd"
# Few enough that a fault can use them up.
MAX_CONNECTIONS = 60

_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_SETTINGS = """
listen_addresses = '127.0.0.1'
max_connections = {max_connections}
shared_buffers = '64MB'
# A crash of the server loses nothing without it, only one of the machine does.
fsync = off
full_page_writes = off
checkpoint_timeout = '30s'
# Whatever could bring a token into the log is on.
log_line_prefix = '%m [%p] %q%u@%d/%a '
log_min_duration_statement = '50ms'
log_lock_waits = on
timezone = 'UTC'
log_timezone = 'UTC'
"""

_ACCESS = """
local all all trust
local replication all trust
host all {role} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


class Server:
    """Its directory holds socket, data and log. The port is the same whatever becomes of the data."""

    def __init__(self, directory: Path, guardian: Guardian) -> None:
        self.directory = directory
        self.port = free_port()
        self._guardian = guardian
        self._binaries = Path(os.environ["PG_BIN"])
        # Postgres refuses to run as root.
        self._account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        if self._account:
            shutil.chown(directory, self._account.pw_uid, self._account.pw_gid)

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def connect(self, role: str, database: str, name: str = "chaos") -> Any:
        """A session over the socket."""
        return psycopg2.connect(
            host=str(self.directory), port=self.port, user=role, dbname=database, application_name=name
        )

    def initialise(self) -> None:
        """A new, empty one."""
        self._run(
            "initdb", "--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8",
            "--locale", "C.UTF-8", "--no-sync", "--no-instructions", "-D", "data",
        )  # fmt: skip
        data = self.directory / "data"
        (data / "postgresql.conf").write_text(_SETTINGS.format(max_connections=MAX_CONNECTIONS))
        (data / "pg_hba.conf").write_text(_ACCESS.format(role=ROLE))

    def copy_of(self, primary: Server) -> None:
        """A new standby; what was here before is gone."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        self._run(
            "pg_basebackup", "-h", str(primary.directory), "-p", str(primary.port), "-U", SUPERUSER, "-D", "data",
            "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with self.log.open("ab") as log:
            self._process = self._spawn(
                "postgres", "-D", "data", "-p", str(self.port), "-k", str(self.directory), stdout=log, stderr=log
            )
        self._guardian.watch(self._process.pid)
        limit = time.monotonic() + 60
        while True:
            try:
                self.connect(SUPERUSER, "postgres").close()
                return
            except psycopg2.OperationalError:
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"Postgres did not start, see {self.log}") from None
                time.sleep(0.05)

    def stop(self, how: str) -> None:
        """Stops it, `fast` or `immediate`, and waits until it is gone; nothing where it does not run."""
        if self._process is not None:
            self._process.send_signal(_SIGNALS[how])
            self._reap()

    def freeze(self) -> None:
        """As a machine that stands still: all its processes, and nobody is told."""
        self._signal_all(signal.SIGSTOP)

    def kill(self) -> None:
        """All its processes at once; a frozen one too."""
        if self._process is not None:
            self._signal_all(signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait(60)
        self._guardian.forget(self._process.pid)
        self._process = None

    def _signal_all(self, number: signal.Signals) -> None:
        # Each backend is a session of its own: the process group would reach the postmaster alone.
        assert self._process is not None
        postmaster = self._process.pid
        for pid in [postmaster, *_children(postmaster)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _run(self, *command: str) -> None:
        process = self._spawn(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, complaint = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {complaint.decode()}")

    def _spawn(self, program: str, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        who: dict[str, Any] = {}
        if self._account:
            who = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            [str(self._binaries / program), *arguments],
            cwd=self.directory, stdin=subprocess.DEVNULL, start_new_session=True, **streams, **who,
        )  # fmt: skip


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything; state and parent follow it.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found
