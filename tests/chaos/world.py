"""What all parts of a run share: its plan, its directory, what went wrong, and what was counted.

Nothing here knows relinkd or Postgres. Everything is safe to use from several threads.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """What the command line asked for, and what follows from the seed."""

    seed: int
    seconds: float
    short: bool
    binary: Path
    keep: bool
    faults: int | None
    mode: str
    tokenless: str  # portal.tokenless
    standby: bool  # a synchronous standby, that can take over

    @property
    def audit(self) -> str:
        """Where nothing needs an audit, it would only hide a change that was lost."""
        return "5s" if self.mode == "audits" else "12h"

    @property
    def rebuilds(self) -> bool:
        """Whether something may queue everybody, and so hide a change that was lost: `install`, a new portal."""
        return self.mode != "alone"


# What a run may be mended by. "audits": faults that no trigger can see, and audits every few seconds. "installs": no
# audit, but `install` and reloads with another portal, which queue everybody. "alone": none of these, so that every
# single change has to find its own way into the links.
MODES = ("audits", "installs", "alone")


class World:
    """One run."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self.load_ends = threading.Event()
        self.faults: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._wrong: list[str] = []
        self._excused: list[tuple[float, float]] = []
        self._open: dict[object, float] = {}
        self._journal = (directory / "chaos.log").open("a", encoding="utf-8")

    def rng(self, name: str) -> random.Random:
        """A stream of its own for each part: what one draws never shifts what another gets."""
        return random.Random(f"{self.plan.seed}/{name}")

    def note(self, text: str) -> None:
        """A line in chaos.log."""
        with self._lock:
            self._journal.write(f"{time.monotonic() - self._begun:9.3f} {text}\n")
            self._journal.flush()

    def say(self, text: str) -> None:
        """The same, for the person in front of it too."""
        self.note(text)
        print(f"[{time.monotonic() - self._begun:6.1f} s] {text}", file=sys.stderr, flush=True)

    def wrong(self, text: str) -> None:
        """Something that relinkd promises did not hold. Never with a token in the text."""
        self.say(f"WRONG: {text}")
        with self._lock:
            self._wrong.append(text)

    @property
    def faults_found(self) -> list[str]:
        with self._lock:
            return list(self._wrong)

    def count(self, what: str) -> None:
        with self._lock:
            self.done[what] += 1

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Meanwhile the bot may wait, or fail, for a reason that is the fault's and not relinkd's."""
        key, start = object(), time.monotonic()
        with self._lock:
            self._open[key] = start
        try:
            yield
        finally:
            with self._lock:
                del self._open[key]
                # What was caught in it needs a moment to get going again.
                self._excused.append((start, time.monotonic() + 2.0))

    def is_excused(self, start: float, end: float) -> bool:
        """Whether a span of time touches such a window."""
        with self._lock:
            still_open = any(opened < end for opened in self._open.values())
            return still_open or any(a < end and start < b for a, b in self._excused)

    def since_begun(self, moment: float) -> float:
        """A moment of time.monotonic(), as chaos.log counts."""
        return moment - self._begun

    def wait(self, seconds: float) -> bool:
        """Sleeps, but not beyond the end of the load; returns whether the load goes on."""
        return not self.load_ends.wait(seconds)
