"""The network between relinkd and Postgres: a TCP proxy on loopback that can be cut, slowed and silenced.

Bytes are never lost or changed, as TCP promises: what is held back arrives later, or the connection ends.
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
import time
from dataclasses import dataclass, field

from .server import free_port


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    frozen: bool = False
    commits: int = 0


@dataclass
class _Weather:
    refuse: bool = False
    delay: float = 0.0
    silent: set[str] = field(default_factory=set)  # "up": to the server, "down": from it
    commit: str | None = None  # cut at the victim's next COMMIT, "before" or "after" it has reached the server
    victim: _Connection | None = None


class Proxy:
    """Listens on `ports`, and forwards each to the server's of the same place in the list."""

    def __init__(self, server_ports: list[int]) -> None:
        self.ports = [free_port() for _ in server_ports]
        self._server_ports = server_ports
        self._weather = _Weather()
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._serve, args=(started,), daemon=True, name="proxy").start()
        started.wait()

    def calm(self, cut: bool = False) -> None:
        """Good weather again; with `cut`, connections that lived through the bad one end."""
        self._weather.__init__()  # type: ignore[misc]
        self._call(lambda: self._end(cut))

    def cut(self, refuse: bool) -> None:
        """Ends every connection; with `refuse`, new ones end at once too."""
        self._weather.refuse = refuse
        self._call(lambda: self._end(True))

    def slow(self, delay: float) -> None:
        """Each piece of data takes this many seconds longer."""
        self._weather.delay = delay

    def silence(self, *directions: str) -> None:
        """Nothing arrives any more in these directions, and nothing is said about it."""
        self._weather.silent = set(directions)

    def freeze(self) -> None:
        """As a firewall that forgets: today's connections go silent both ways, new ones work."""
        self._call(self._freeze)

    def cut_at_commit(self, rng: random.Random, when: str, patience: float) -> bool:
        """Ends a connection when it next commits; returns whether it did in time. Any of those that commit at all:
        the busiest one would be hit nearly always, otherwise."""
        victims = [connection for connection in list(self._connections) if connection.commits]
        if not victims:
            return False
        self._weather.victim, self._weather.commit = rng.choice(victims), when
        limit = time.monotonic() + patience
        while self._weather.commit and time.monotonic() < limit:
            time.sleep(0.01)
        happened = self._weather.commit is None
        self._weather.commit = None
        return happened

    def _freeze(self) -> None:
        for connection in self._connections:
            connection.frozen = True

    def _end(self, everyone: bool) -> None:
        for connection in list(self._connections):
            if everyone or connection.frozen:
                self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        for writer in (connection.client, connection.server):
            writer.transport.abort()

    def _call(self, action) -> None:  # type: ignore[no-untyped-def]
        done = threading.Event()

        def run() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(5)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        for port, server_port in zip(self.ports, self._server_ports, strict=True):
            accept = functools.partial(self._accept, server_port)
            self._loop.run_until_complete(asyncio.start_server(accept, "127.0.0.1", port))
        started.set()
        self._loop.run_forever()

    async def _accept(self, server_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather.refuse:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, up_writer)
        self._connections.add(connection)
        await asyncio.gather(
            self._pump(connection, "up", reader, up_writer),
            self._pump(connection, "down", up_reader, writer),
        )

    async def _pump(
        self, connection: _Connection, way: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await source.read(65536):
                if self._weather.delay:
                    await asyncio.sleep(self._weather.delay)
                while way in self._weather.silent or connection.frozen:
                    await asyncio.sleep(0.02)
                if way == "up" and b"COMMIT" in data.upper():
                    connection.commits += 1
                    if self._weather.commit and self._weather.victim is connection:
                        await self._fail_commit(connection, data, sink)
                        return
                sink.write(data)
                await sink.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._close(connection)

    async def _fail_commit(self, connection: _Connection, data: bytes, sink: asyncio.StreamWriter) -> None:
        when, self._weather.commit = self._weather.commit, None
        if when == "after":
            # The answer is what gets lost.
            connection.client.transport.abort()
            sink.write(data)
            await sink.drain()
            await asyncio.sleep(0.2)
