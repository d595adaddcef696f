"""When which fault falls: drawn from the seed alone, several at a time as long as they do not need the same thing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import psycopg2

from .faults import PLAIN_FAULTS, Fault, Stage
from .schema_faults import SCHEMA_FAULTS
from .standby_faults import STANDBY_FAULTS
from .world import World

# Faults of `--short`: one of each sort, none that takes long.
SHORT = (
    "daemon killed",
    "fails in a drop file",
    "backends terminated",
    "cut in a commit",
    "server stopped",
    "network cut",
    "install under load",
)


class Storm:
    """Makes faults until the load ends, or until there were as many as were asked for."""

    def __init__(self, world: World, stage: Stage) -> None:
        self._world, self._stage = world, stage
        self._rng = world.rng("storm")
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def run(self) -> None:
        """Returns when every fault is over."""
        plan = self._world.plan
        # About every second one has to be left out.
        gap = plan.seconds / plan.faults / 2 if plan.faults else 0.5
        with ThreadPoolExecutor(max_workers=4, thread_name_prefix="fault") as pool:
            running: list[Future[None]] = []
            for number, fault in enumerate(self._falling()):
                if not self._world.wait(self._rng.expovariate(1 / gap)):
                    break
                # One that needs what another still has is left out, so that a seed always means the same list.
                if self._take(fault):
                    stage = replace(self._stage, rng=self._world.rng(f"fault {number}"))
                    running.append(pool.submit(self._make, fault, stage))
        for future in running:
            future.result()

    def _falling(self) -> Iterator[Fault]:
        plan = self._world.plan
        faults = [*PLAIN_FAULTS, *SCHEMA_FAULTS, *(STANDBY_FAULTS if plan.standby else [])]
        faults = [fault for fault in faults if plan.mode in fault.modes]
        if plan.short:
            by_name = {fault.name: fault for fault in faults}
            while True:
                yield from (by_name[name] for name in SHORT if name in by_name)
        weights = [fault.weight for fault in faults]
        while True:
            yield self._rng.choices(faults, weights)[0]

    def _take(self, fault: Fault) -> bool:
        with self._lock:
            if self._taken & fault.needs:
                return False
            self._taken |= fault.needs
            return True

    def _make(self, fault: Fault, stage: Stage) -> None:
        begun = time.monotonic()
        self._world.note(f"fault: {fault.name}")
        try:
            fault.make(stage)
            self._world.faults[fault.name] += 1
        except psycopg2.OperationalError:
            # The server was stopped, or full, by another fault: this one did not happen.
            self._world.count("faults that another fault prevented")
        finally:
            self._world.note(f"fault over: {fault.name}, {time.monotonic() - begun:.2f} s")
            with self._lock:
                self._taken -= fault.needs
