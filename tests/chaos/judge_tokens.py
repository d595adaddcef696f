"""What the column of tokens went through, against what everybody meant: nothing lost, twice, or reverted."""

from __future__ import annotations

from collections import Counter, defaultdict

from .sealed import Keyring, Unusable, key_of
from .witness import Book, DropFile, Intent, TokenWrite
from .world import World

# relinkd reads, then writes: what the bot commits in between it cannot know. Older than this, it must.
RACE = 3.0
_UNUSABLE = object()


class TokenJudge:
    """Reads the writes once; `judge` says what is wrong with them."""

    def __init__(self, world: World, book: Book, keyring: Keyring, writes: list[TokenWrite]) -> None:
        self._world, self._book, self._keyring = world, book, keyring
        self._writes = writes
        # A swap is made from the column as it is when the file is dropped. Should another one come first, the user has
        # the token already, and gets it again: legal.
        self._swapped = {each for file in book.files if file.kind == "swap" for each in file.assignments}
        self._of_user: dict[int, list[TokenWrite]] = defaultdict(list)
        for write in writes:
            self._of_user[write.user].append(write)

    def judge(self, applied: dict[str, str], column: dict[int, str | None]) -> None:
        """`applied`: names of the files that have a receipt, and when they were applied. `column`: what stands in it now."""
        assigned = [write for write in self._writes if write.by_relinkd and self._assigns(write)]
        self._count_assignments(assigned, applied)
        self._look_for_holders()
        self._look_at_files(assigned, applied)
        self._look_at_the_bot()
        for user, stored in column.items():
            written = self._of_user[user][-1].new if self._of_user[user] else None
            if (stored or None) != (written or None):
                self._world.wrong(f"the column of user {user} is not what was last written to it")

    def _value(self, stored: str | None, user: int) -> object:
        try:
            return self._keyring.token(stored, user)
        except Unusable:
            return _UNUSABLE

    def _assigns(self, write: TokenWrite) -> bool:
        """Whether relinkd changed the token; says so where it wrote what it never may."""
        old, new = self._value(write.old, write.user), self._value(write.new, write.user)
        if new is _UNUSABLE:
            self._world.wrong(f"relinkd ({write.program}) wrote a value that does not open for user {write.user}")
        if isinstance(new, str) and key_of(write.new) is None:
            self._world.wrong(f"relinkd ({write.program}) wrote plaintext for user {write.user}")
        if new == old and new is not _UNUSABLE:
            # Sealing, or sealing anew under another key.
            again = key_of(write.old) == key_of(write.new) and (write.user, new) not in self._swapped
            if new is not None and again:
                self._world.wrong(f"relinkd ({write.program}) wrote the same token of user {write.user} twice")
            return False
        return True

    def _overtaken(
        self, applied: dict[str, str], found: Counter[tuple[int, object]]
    ) -> Counter[tuple[int, object]]:
        """Assignments of files that were applied in one transaction with later ones of the same user: nobody can have
        seen them in the column, and only the last of them needs to have been written. Says so where none was that may
        have been the last."""
        together: dict[tuple[int, str, int], list[DropFile]] = defaultdict(list)
        for file in self._book.files:
            if file.name in applied:
                for user, _ in file.assignments:
                    together[file.spool, applied[file.name], user].append(file)
        overtaken: Counter[tuple[int, object]] = Counter()
        for (_, _, user), files in together.items():
            if len(files) == 1:
                continue
            # Where a careless producer's file stands in the order is not known: it may be the last, or the last of the
            # others may. Either is legal.
            ordered = sorted((file for file in files if file.order), key=lambda file: file.order)
            may_be_last = [file for file in files if not file.order] + ordered[-1:]
            for file in files:
                if len(may_be_last) > 1 or file not in may_be_last:
                    overtaken.update(a for a in file.assignments if a[0] == user)
            last = [a for file in may_be_last for a in file.assignments if a[0] == user]
            # Of a removal, or of a token that the user had already, nothing need be seen.
            seen = any(found[a] or a[1] is None or a in self._swapped for a in last)
            if not seen and all(file.expected == "applied" for file in may_be_last):
                self._world.wrong(f"no token of user {user} was written, of {len(files)} files applied at once")
        return overtaken

    def _count_assignments(self, assigned: list[TokenWrite], applied: dict[str, str]) -> None:
        """Each assignment exactly as often as it was meant and confirmed; one whose answer was lost, once or not."""
        must: Counter[tuple[int, object]] = Counter()
        may: Counter[tuple[int, object]] = Counter()
        for file in self._book.files:
            into = must if file.name in applied and file.expected == "applied" else may
            if file.name in applied or file.expected == "any":
                into.update(file.assignments)
        for intent in self._book.intents:
            if intent.who == "command":
                (must if intent.outcome == "done" else may)[intent.user, intent.token] += 1
        found = Counter((write.user, self._value(write.new, write.user)) for write in assigned)
        for (user, token), count in found.items():
            if count > must[user, token] + may[user, token]:
                meant = must[user, token] + may[user, token]
                what = "removed the token" if token is None else "set a token"
                why = "" if meant else ": it wrote an old state over a newer one"
                self._world.wrong(f"relinkd {what} of user {user} {count} times, meant {meant} times{why}")
        overtaken = self._overtaken(applied, found)
        for (user, token), count in must.items():
            # A removal of what is not there writes nothing.
            if token is not None and found[user, token] < count - overtaken[user, token]:
                self._world.wrong(f"a token of user {user} that was confirmed was never written")

    def _look_for_holders(self) -> None:
        """relinkd never gives anybody a token that somebody else has held for a while, and still holds afterwards."""
        holds: dict[int, tuple[object, float]] = {}
        last_of = {(write.xid, write.user): write.seq for write in self._writes}
        for write in self._writes:
            token = self._value(write.new, write.user)
            if write.by_relinkd and isinstance(token, str) and token != self._value(write.old, write.user):
                for other, (held, since) in holds.items():
                    swapped = last_of.get((write.xid, other), 0) > write.seq
                    if other != write.user and held == token and write.at - since > RACE and not swapped:
                        self._world.wrong(f"relinkd gave user {write.user} the token that user {other} holds")
            if token != holds.get(write.user, (None, 0.0))[0]:
                holds[write.user] = (token, write.at)

    def _look_at_files(self, assigned: list[TokenWrite], applied: dict[str, str]) -> None:
        """All of a file or nothing of it; and those of one spool in the order of arrival."""
        when = {(write.user, self._value(write.new, write.user)): write for write in assigned}
        last: dict[tuple[int, int], tuple[int, int]] = {}
        for file in sorted(self._book.files, key=lambda file: (file.spool, file.order)):
            if file.name not in applied or file.kind not in ("many", "single") or file.expected == "any":
                continue
            sets = [when[a] for a in file.assignments if a[1] is not None and a in when]
            if len({write.xid for write in sets}) > 1:
                self._world.wrong(f"file {file.name} was applied in several transactions")
            if sets:
                self._look_at_removals(file, sets[0])
            for write in sets if file.order else []:
                before = last.get((file.spool, write.user), (0, 0))
                if write.seq < before[0]:
                    self._world.wrong(f"file {file.name} came after file number {before[1]}, and was applied before it")
                last[file.spool, write.user] = (write.seq, file.order)

    def _look_at_removals(self, file: DropFile, beside: TokenWrite) -> None:
        for user, token in file.assignments:
            if token is not None:
                continue
            writes = self._of_user[user]
            if any(write.xid == beside.xid for write in writes):
                continue
            before = [write for write in writes if write.seq < beside.seq]
            if before and before[-1].new and beside.at - before[-1].at > RACE:
                self._world.wrong(f"file {file.name} was applied, but user {user} kept the token it removes")

    def _look_at_the_bot(self) -> None:
        """What the bot's transactions were told: committed is there, rolled back is not."""
        written = {(write.user, write.new) for write in self._writes if not write.by_relinkd}
        for intent in self._book.intents:
            if intent.who == "bot" and intent.token is not None:
                self._look_at_intent(intent, (intent.user, intent.token) in written)

    def _look_at_intent(self, intent: Intent, is_written: bool) -> None:
        if intent.outcome == "done" and not is_written:
            self._world.wrong(f"a token that the bot committed for user {intent.user} was lost")
        if intent.outcome == "not done" and is_written:
            self._world.wrong(f"a token that the bot rolled back for user {intent.user} was kept")
