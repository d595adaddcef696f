"""What a run says in the end: how long the bot waited, how many faults there were, what was wrong."""

from __future__ import annotations

from .client import Wait
from .world import World

# Generous: what is looked for is a bot that hangs, on a machine that may be busy.
WORST_SINGLE = 5.0
WORST_BULK = 20.0


def report_waits(world: World, waits: list[Wait]) -> None:
    """p50, p99 and worst of the bot's statements; those that a fault of the server itself held up are left out."""
    for bulk, name, limit in ((False, "statements", WORST_SINGLE), (True, "imports", WORST_BULK)):
        counted = [wait for wait in waits if wait.bulk is bulk and not world.is_excused(wait.start, wait.end)]
        if not counted:
            continue
        counted.sort(key=lambda wait: wait.took)
        p50, p99, worst = counted[len(counted) // 2], counted[int(len(counted) * 0.99)], counted[-1]
        world.say(
            f"the bot's {name}: {len(counted)}; p50 {p50.took * 1000:.1f} ms, p99 {p99.took * 1000:.1f} ms,"
            f" worst {worst.took * 1000:.0f} ms (`{worst.what}` at {world.since_begun(worst.start):.1f} s)"
        )
        late = [wait for wait in counted if wait.took > limit]
        if late:
            world.wrong(f"{len(late)} of the bot's {name} took more than {limit:.0f} s, the worst {worst.took:.1f} s")


def report(world: World) -> bool:
    """The summary; returns whether all was right."""
    plan = world.plan
    print(f"seed {plan.seed}: {sum(world.faults.values())} faults"
          f" (mode {plan.mode}, tokenless = \"{plan.tokenless}\"{', standby' if plan.standby else ''})")  # fmt: skip
    for name, count in sorted(world.faults.items()):
        print(f"  {count:5}  {name}")
    print("beside them:")
    for name, count in sorted(world.done.items()):
        print(f"  {count:5}  {name}")
    wrong = world.faults_found
    if not wrong:
        print(f"seed {plan.seed}: all is right")
        return True
    print(f"seed {plan.seed}: {len(wrong)} things are wrong")
    for text in wrong[:40]:
        print(f"  {text}")
    print(f"logs: {world.directory}")
    return False
