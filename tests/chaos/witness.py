"""Book-keeping of tokens: what everybody meant to write, and what the column went through.

The order of commits is what decides which token is the newest, and only the database knows it. So a trigger of
the run's own, always enabled, notes every write to the column in the writer's transaction: what is rolled
back is not in it, and for one user its order is that of the row's lock, so of the commits. Who meant what is
kept here, in Python: the two are held against each other in the end.
"""

from __future__ import annotations

import random
import string
import threading
from dataclasses import dataclass, field
from typing import Any

from .cluster import BOT, DATABASE, Cluster
from .server import ROLE

SCHEMA = f"""
create schema chaos;
create table chaos.token_write (
    seq bigserial primary key, at timestamptz not null default clock_timestamp(), xid xid8 not null,
    telegram_id bigint not null, who text not null, program text not null, old text, new text
);
create function chaos.note_token() returns trigger language plpgsql security definer as $$
begin
    insert into chaos.token_write (xid, telegram_id, who, program, old, new) values (
        pg_current_xact_id(), coalesce(new.telegram_id, old.telegram_id), session_user,
        current_setting('application_name'), old.portal_token, new.portal_token);
    return null;
end $$;
create function chaos.watch(target regclass) returns void language plpgsql as $$
begin
    execute format('create trigger zz_chaos_insert after insert on %s for each row
        when (new.portal_token is not null) execute function chaos.note_token()', target);
    execute format('create trigger zz_chaos_delete after delete on %s for each row
        when (old.portal_token is not null) execute function chaos.note_token()', target);
    execute format('create trigger zz_chaos_update after update of portal_token on %s for each row
        when (old.portal_token is distinct from new.portal_token or session_user = ''{ROLE}'')
        execute function chaos.note_token()', target);
    execute format('alter table %s enable always trigger zz_chaos_insert', target);
    execute format('alter table %s enable always trigger zz_chaos_delete', target);
    execute format('alter table %s enable always trigger zz_chaos_update', target);
end $$;
select chaos.watch('users');
-- The bot's own statements hold tokens, and are not what is on trial: none of them in the server's log.
alter role {BOT} set log_min_error_statement = 'panic';
alter role {BOT} set log_error_verbosity = 'terse';
alter role {BOT} set log_min_duration_statement = -1;
alter database {DATABASE} set timezone = 'UTC';
"""


@dataclass(eq=False)
class Intent:
    """Somebody meant to write this token (none: to remove what is there) into this user's column."""

    who: str  # "bot", "file NAME", "command"
    user: int
    token: str | None
    outcome: str = "unknown"  # "done", "not done", or "unknown": the answer was lost


@dataclass(eq=False)
class DropFile:
    """A file that was dropped."""

    name: str
    spool: int
    kind: str
    content: bytes
    expected: str  # "applied", "rejected", "either", "left"
    assignments: list[tuple[int, str | None]] = field(default_factory=list)
    order: int = 0  # of arrival in its spool; 0 where that is not known


@dataclass(frozen=True)
class TokenWrite:
    """A row of chaos.token_write."""

    seq: int
    at: float
    xid: str
    user: int
    by_relinkd: bool
    program: str
    old: str | None
    new: str | None


class Book:
    """Who meant what, and every secret there ever was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.intents: list[Intent] = []
        self.files: list[DropFile] = []
        self.secrets: set[str] = set()
        self.personal: set[str] = set()

    def new_token(self, rng: random.Random) -> str:
        """A token that nobody has had: the usual form, or one with characters that a URL has to encode."""
        while True:
            if rng.random() < 0.8:
                token = "-".join(f"{rng.randrange(10000):04}" for _ in range(4))
            else:
                letters = "".join(rng.choices(string.ascii_letters + string.digits, k=12))
                token = f"T{letters}{rng.choice(('+/', '=&', '%', '~.', '#?'))}z"
            with self._lock:
                if token not in self.secrets:
                    self.secrets.add(token)
                    self.personal.add(token)
                    return token

    def new_login_token(self, rng: random.Random) -> str:
        """The bot's own reusable login, which it puts into new links."""
        token = "L" + "".join(rng.choices(string.ascii_letters + string.digits, k=20))
        with self._lock:
            self.secrets.add(token)
        return token

    def means(self, who: str, user: int, token: str | None) -> Intent:
        intent = Intent(who, user, token)
        with self._lock:
            self.intents.append(intent)
        return intent

    def drops(self, file: DropFile) -> None:
        with self._lock:
            self.files.append(file)

    @staticmethod
    def writes(cluster: Cluster) -> list[TokenWrite]:
        """What the column went through."""
        rows: list[tuple[Any, ...]] = cluster.run(
            "select seq, extract(epoch from at)::float8, xid::text, telegram_id, who, program, old, new"
            " from chaos.token_write order by seq"
        )
        return [TokenWrite(seq, at, xid, user, who == ROLE, program, old, new)
                for seq, at, xid, user, who, program, old, new in rows]  # fmt: skip
