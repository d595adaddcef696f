"""Faults of relinkd's schema and the bot's tables: triggers gone, tables rebuilt, `install` and `uninstall` in it."""

from __future__ import annotations

from typing import Any

import psycopg2
from psycopg2 import errors

from .bot import RESIDENTS
from .faults import Fault, Stage
from .server import ROLE, SUPERUSER

# relinkd's triggers, told by the schema of their function.
_TRIGGERS = """
select t.tgname, t.tgrelid::regclass::text from pg_trigger t join pg_proc p on p.oid = t.tgfoid
where p.pronamespace = 'relinkd'::regnamespace and not t.tgisinternal
and t.tgrelid in ('users'::regclass, 'issues'::regclass)
"""


def change_tables(stage: Stage, *statements: str) -> bool:
    """DDL in one transaction, in short attempts: who waits for a lock on a table makes the bot wait. Whether it was done."""
    with stage.world.excused():
        session = stage.cluster.connect(SUPERUSER)
        try:
            for _ in range(100):
                try:
                    with session, session.cursor() as cursor:
                        cursor.execute("set local lock_timeout = '200ms'")
                        cursor.execute("lock table users, issues in access exclusive mode")
                        for statement in statements:
                            cursor.execute(statement)
                    return True
                except errors.LockNotAvailable:
                    stage.hold(0.1, 0.3)
            stage.world.note("the tables were locked all the time; nothing was changed")
            return False
        finally:
            session.close()


def install_again(stage: Stage) -> None:
    stage.commands.install(stage.site())


def drop_triggers(stage: Stage) -> None:
    rows = stage.cluster.run(_TRIGGERS)
    change_tables(stage, *(f"drop trigger {name} on {table}" for name, table in rows))
    try:
        stage.hold(0.2, 2.0)
    finally:
        stage.commands.install(stage.site())


def disable_triggers(stage: Stage) -> None:
    rows = stage.cluster.run(_TRIGGERS)
    change_tables(stage, *(f"alter table {table} disable trigger {name}" for name, table in rows))
    try:
        stage.hold(0.2, 2.0)
    finally:
        change_tables(stage, *(f"alter table {table} enable trigger {name}" for name, table in rows))


def write_as_replica(stage: Stage) -> None:
    """As logical replication writes: ordinary triggers do not fire. Hand-overs, and tokens that go."""
    session: Any = stage.cluster.connect(SUPERUSER)
    try:
        with session, session.cursor() as cursor:
            cursor.execute("set local session_replication_role = replica; set local lock_timeout = '500ms'")
            for user in stage.rng.sample(RESIDENTS, 3):
                cursor.execute("update users set portal_token = null where telegram_id = %s", (user,))
                cursor.execute(
                    "update issues set telegram_user_id = %s where id in"
                    " (select id from issues where telegram_user_id = %s limit 3)",
                    (stage.rng.choice(RESIDENTS), user),
                )
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        pass
    finally:
        session.close()


def forbid_rows(stage: Stage) -> None:
    """A trigger of the bot's makes some rows unwritable for relinkd: it ends the session, refuses, or takes long."""
    done = change_tables(
        stage,
        f"""create or replace function forbid() returns trigger language plpgsql as $$ begin
            if current_user = '{ROLE}' then
                case new.id % 3
                    when 0 then perform pg_terminate_backend(pg_backend_pid());
                    when 1 then raise insufficient_privilege using message = 'not this one';
                    else perform pg_sleep(0.1);
                end case;
            end if;
            return new;
        end $$""",
        f"create trigger forbid before update on issues for each row"
        f" when (new.id % 211 = {stage.rng.randrange(211)}) execute function forbid()",
    )
    try:
        stage.hold(1.0, 6.0)
    finally:
        while done and not change_tables(stage, "drop trigger if exists forbid on issues", "drop function forbid() cascade"):
            pass


def uninstall_and_install(stage: Stage) -> None:
    code = stage.commands.admin(stage.site(), "uninstall", "--keep-sealed", "--force")
    stage.world.count("uninstalled" if code == 0 else "uninstall did not go through")
    try:
        stage.hold(0.0, 3.0)
    finally:
        stage.commands.install(stage.site())


def swap_table(stage: Stage) -> None:
    """A migration that rebuilds a table under its own name: like, copy, rename. Triggers and views stay behind."""
    table = stage.rng.choice(("users", "issues"))
    watch = ["select chaos.watch('users')"] if table == "users" else []
    change_tables(
        stage,
        f"create table {table}_new (like {table} including all)",
        f"insert into {table}_new select * from {table}",
        f"alter sequence {table}_id_seq owned by {table}_new.id",
        f"alter table {table} rename to {table}_old",
        f"alter table {table}_new rename to {table}",
        f"alter table {table} owner to okdesk_user",
        *watch,
    )
    try:
        stage.hold(0.2, 2.0)
    finally:
        stage.commands.install(stage.site())
        _drop_old(stage, table)


def _drop_old(stage: Stage, table: str) -> None:
    try:
        stage.cluster.run(f"drop table if exists {table}_old")
    except psycopg2.errors.DependentObjectsStillExist:
        stage.world.wrong(f"after `install`, something of relinkd still holds the former table of {table}")
        stage.cluster.run(f"drop table {table}_old cascade")


_NEEDS = frozenset({"server", "role", "schema"})
_REBUILDING = frozenset({"audits", "installs"})
_BLIND = frozenset({"audits"})  # no trigger sees what happens meanwhile

SCHEMA_FAULTS = [
    Fault("install under load", _NEEDS, 2, install_again, _REBUILDING),
    Fault("triggers dropped", _NEEDS, 1, drop_triggers, _REBUILDING),
    Fault("uninstalled and installed", _NEEDS, 1, uninstall_and_install, _REBUILDING),
    Fault("table swapped", _NEEDS, 1, swap_table, _REBUILDING),
    Fault("rows forbidden", _NEEDS, 3, forbid_rows),
    Fault("triggers disabled", _NEEDS, 2, disable_triggers, _BLIND),
    Fault("written as replica", _NEEDS, 2, write_as_replica, _BLIND),
]
