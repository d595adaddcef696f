"""The command line of scripts/chaos."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from types import FrameType

from .processes import Guardian
from .report import report
from .story import Run
from .world import MODES, Plan, World


def main() -> int:
    plan = read_plan()
    directory = Path(tempfile.mkdtemp(prefix="relinkd-chaos-"))
    directory.chmod(0o755)
    world, guardian = World(plan, directory), Guardian()
    run = None

    def leave(number: int, _: FrameType | None) -> None:
        # What is under way ends early; then everything is taken down below.
        world.load_ends.set()
        raise SystemExit(128 + number)

    threading.excepthook = lambda failed: fail(world, failed)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        run = Run(world, guardian)
        run.play()
    except SystemExit:
        world.say("interrupted")
        raise
    except Exception as error:  # whatever it is, the run is no success, and the seed is said
        # The message of a database's error may quote a row.
        said = str(error) if isinstance(error, RuntimeError) else "see above"
        traceback.print_tb(error.__traceback__)
        world.wrong(f"the run itself failed: {type(error).__name__}: {said}")
    finally:
        world.load_ends.set()
        if run is not None:
            run.end()
        guardian.end()
        world.say(f"logs: {directory}" if plan.keep or world.faults_found else "cleared away")
        if not plan.keep and not world.faults_found:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if report(world) else 1


def fail(world: World, failed: threading.ExceptHookArgs) -> None:
    """A thread that broke down did not do its part: the run says nothing."""
    who = failed.thread.name if failed.thread else "a thread"
    traceback.print_tb(failed.exc_traceback)
    world.wrong(f"the run itself failed: {who}: {failed.exc_type.__name__}, see above")


def read_plan() -> Plan:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Load and faults against relinkd on a private Postgres, and an oracle that says whether"
        " everything is right afterwards. Needs root, for a small disk that can be full.",
    )
    parser.add_argument("--seed", type=int, help="what decides over load and faults [default: a new one]")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long load and faults last [default: 3]")
    parser.add_argument("--short", action="store_true", help="a small run of about 40 s in all")
    parser.add_argument("--faults", type=int, metavar="N", help="about this many faults, spread over the time")
    parser.add_argument("--binary", type=Path, help="the relinkd to try [default: built by cargo]")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the logs")
    parser.add_argument("--mode", choices=MODES, help="what may mend a lost change: audits every 5 s (with"
                        " faults that need them); only `install` and reloads; nothing [by the seed]")  # fmt: skip
    parser.add_argument("--tokenless", choices=("plain", "keep"), help="portal.tokenless [default: by the seed]")
    parser.add_argument("--standby", choices=("yes", "no"), help="a synchronous standby, promoted and lost among the"
                        " faults [default: by the seed, not with --short]")  # fmt: skip
    args = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("run it as root: one of the faults is a full disk, which has to be mounted")
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1_000_000)
    return Plan(
        seed=seed,
        seconds=15.0 if args.short else args.minutes * 60,
        short=args.short,
        binary=args.binary.resolve(),
        keep=args.keep,
        faults=args.faults,
        mode=args.mode or MODES[seed % 3],
        tokenless=args.tokenless or ("keep" if seed // 3 % 3 == 2 else "plain"),
        standby=args.standby == "yes" if args.standby else seed // 3 % 2 == 1 and not args.short,
    )


sys.exit(main())
