-- relinkd: run with psql, as the owner of the bot's tables (or a superuser), in the bot's database.
\set ON_ERROR_STOP on

-- If the role is missing: create role relinkd login;

set relinkd.users_table = 'public.users';
set relinkd.users_telegram_id = 'telegram_id';
set relinkd.users_portal_token = 'portal_token';
set relinkd.issues_table = 'public.issues';
set relinkd.issues_id = 'id';
set relinkd.issues_telegram_id = 'telegram_user_id';
set relinkd.issues_url = 'okdesk_url';
set relinkd.role = 'relinkd';

begin;
set local lock_timeout = '500ms'; -- where it is not enough: once more, nothing has been done

-- Schema relinkd: its tables, the two views through which the daemon sees the bot's tables, and its functions.
-- Takes no lock on the bot's tables that a reader or writer would notice; safe to run again, on a live bot.
--
-- Run by `relinkd install`; a DBA runs the same text with psql (`relinkd install --print`). The names of the bot's
-- tables and columns arrive as settings of the session:
--   relinkd.users_table, relinkd.users_telegram_id, relinkd.users_portal_token,
--   relinkd.issues_table, relinkd.issues_id, relinkd.issues_telegram_id, relinkd.issues_url

do $newer$
declare
    found integer;
begin
    if to_regclass('relinkd.meta') is not null then
        select schema_version into found from relinkd.meta;
        if found > 1 then
            raise exception using errcode = 'object_not_in_prerequisite_state',
                message = format('schema relinkd has version %s, and this relinkd knows version 1', found);
        end if;
    end if;
end $newer$;

create schema if not exists relinkd;
comment on schema relinkd is 'relinkd: keeps helpdesk links in step with portal tokens; removed by `relinkd uninstall`';

-- One row: what is installed, and what the daemons remember between runs.
create table if not exists relinkd.meta (
    only_row           boolean primary key default true check (only_row),
    schema_version     integer not null,
    users_table        text not null,
    users_telegram_id  text not null,
    users_portal_token text not null,
    issues_table       text not null,
    issues_id          text not null,
    issues_telegram_id text not null,
    issues_url         text not null,
    granted_connect_to name,                 -- the role that could not connect before `install`
    portal_fingerprint text,
    audit_finished_at  timestamptz,
    audit_found        bigint
);

-- What has changed and is not yet in the links. Appended to by triggers, emptied by daemons.
create table if not exists relinkd.change (
    id          bigint generated always as identity primary key,
    telegram_id bigint not null,
    issue_id    bigint,                      -- null: all issues of the user
    strip_upto  bigint,                      -- links of issues up to this id lose a token, whatever the setting
    at          timestamptz not null default clock_timestamp(),
    due         timestamptz not null default '-infinity'
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Users whose issues are being walked: where the walk stands, and why it is held up.
create table if not exists relinkd.walk (
    telegram_id bigint primary key,
    cursor      bigint not null,             -- issues up to this id are done
    strip_upto  bigint,
    since       timestamptz not null,
    due         timestamptz not null,
    attempts    integer not null default 0,
    last_error  text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Whose token is this: a keyed mark (HMAC) of each user's token under each key of the ring.
create table if not exists relinkd.token_mark (
    telegram_id bigint not null,
    key_id      text not null,
    mark        bytea not null,
    primary key (telegram_id, key_id)
);

-- Users whose stored value is no usable token; key_id where its key is missing.
create table if not exists relinkd.unusable (
    telegram_id bigint primary key,
    reason      text not null,
    key_id      text
);

-- Drop files that went through and are not yet cleared away on disk: what makes them apply once.
create table if not exists relinkd.ledger (
    claim   text primary key,
    receipt text not null,
    at      timestamptz not null default now()
);

-- Daemons at work; a row whose backend is gone (or, behind a pooler, that is not refreshed) is a dead one's.
create table if not exists relinkd.daemon (
    id            text primary key,
    mode          text not null check (mode in ('listen', 'poll')),
    backend_pid   integer not null,
    backend_start timestamptz not null,
    started_at    timestamptz not null default now(),
    seen_at       timestamptz not null default now(),
    files_wait    text
);

-- Looked for first: "create index if not exists" waits for the daemons' transactions even where the index exists, and
-- a busy daemon has always one open.
do $indexes$
begin
    if to_regclass('relinkd.walk_due') is null then
        create index walk_due on relinkd.walk (due);
    end if;
    if to_regclass('relinkd.token_mark_mark') is null then
        create index token_mark_mark on relinkd.token_mark (mark);
    end if;
end $indexes$;

create or replace function relinkd.user_key(telegram_id bigint) returns bigint
    language sql immutable parallel safe
    return pg_catalog.hashtextextended('relinkd user ' || telegram_id, 0);
comment on function relinkd.user_key(bigint) is
    'The advisory lock of a user: held by whoever writes links of theirs';

-- Wakes the daemons, but only where all of them sleep: one that is awake holds lock (1919249515, 0) and looks anyway.
create or replace function relinkd.ring() returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $ring$
begin
    if pg_catalog.pg_try_advisory_xact_lock_shared(1919249515, 0) then
        perform pg_catalog.pg_notify('relinkd', '');
    end if;
end $ring$;

create or replace function relinkd.alive(d relinkd.daemon) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp as $alive$
    select case d.mode
        when 'poll' then d.seen_at > now() - interval '30 s'
        else exists (
            select from pg_catalog.pg_stat_activity a
             where a.pid = d.backend_pid and a.datname = current_database()
               and coalesce(a.backend_start = d.backend_start, true))
    end
$alive$;

-- The views and the trigger functions, with the names of the bot's tables in them.
do $names$
declare
    users   regclass := current_setting('relinkd.users_table')::regclass;
    u_tg    name := current_setting('relinkd.users_telegram_id');
    u_token name := current_setting('relinkd.users_portal_token');
    issues  regclass := current_setting('relinkd.issues_table')::regclass;
    i_id    name := current_setting('relinkd.issues_id');
    i_tg    name := current_setting('relinkd.issues_telegram_id');
    i_url   name := current_setting('relinkd.issues_url');
    numbers constant name[] := '{int2,int4,int8}';
    texts   constant name[] := '{text,varchar}';
    misfits text;
    definer constant text := 'language plpgsql security definer set search_path = pg_catalog, pg_temp';
begin
    perform set_config('search_path', 'pg_catalog', true);   -- from here on %s of a table is its full name
    if exists (select from pg_class c where c.oid in (users, issues) and c.relkind <> 'r') then
        raise exception using errcode = 'wrong_object_type',
            message = format('%s and %s must be ordinary tables', users, issues),
            hint = 'a row that moves between partitions fires no trigger: relinkd cannot keep such links right';
    end if;
    select string_agg(format('%I in %s is %s, and must be %s', a.attname, w.on_table,
                             format_type(a.atttypid, a.atttypmod), case w.types when numbers then 'bigint' else 'varchar' end), '; ')
      into misfits
      from (values (users, u_tg, numbers), (users, u_token, texts),
                   (issues, i_id, numbers), (issues, i_tg, numbers), (issues, i_url, texts)) w(on_table, name, types)
      join pg_attribute a on a.attrelid = w.on_table and a.attname = w.name and not a.attisdropped
      join pg_type t on t.oid = a.atttypid
      join pg_type b on b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
     where b.typname <> all (w.types);
    if misfits is not null then
        raise exception using errcode = 'datatype_mismatch', message = misfits;
    end if;

    -- Names or a version that moved, or another table under the same name: the old views go, for "or replace" cannot change
    -- a column's type. Those that are right are not touched: replacing them waits for every transaction that reads them,
    -- as a busy daemon's always do.
    if exists (
        select from relinkd.meta m
         where (m.schema_version, to_regclass(m.users_table), m.users_telegram_id, m.users_portal_token,
                to_regclass(m.issues_table), m.issues_id, m.issues_telegram_id, m.issues_url)
               is distinct from (1, users, u_tg::text, u_token::text, issues, i_id::text, i_tg::text, i_url::text))
    or exists (
        select from (values ('relinkd.bot_user', users), ('relinkd.bot_issue', issues)) v(name, on_table)
         where not exists (
               select from pg_rewrite r
                 join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                                 and d.refclassid = 'pg_class'::regclass
                where r.ev_class = to_regclass(v.name) and d.refobjid = v.on_table))
    then
        drop view if exists relinkd.bot_user, relinkd.bot_issue;
    end if;
    if to_regclass('relinkd.bot_user') is null then
        execute format('create view relinkd.bot_user as
            select u.%I as telegram_id, u.%I as portal_token, u.xmin as version from %s u', u_tg, u_token, users);
    end if;
    if to_regclass('relinkd.bot_issue') is null then
        execute format('create view relinkd.bot_issue as
            select i.%I as id, i.%I as telegram_id, i.%I as url from %s i', i_id, i_tg, i_url, issues);
    end if;

    execute format($f$
        create or replace function relinkd.issue_inserted() returns trigger %s as $body$
        begin
            insert into relinkd.change (telegram_id, issue_id)
                select n.%I, n.%I from inserted n where n.%I is not null and n.%I is not null;
            if found then perform relinkd.ring(); end if;
            return null;
        end $body$ $f$, definer, i_tg, i_id, i_tg, i_url);

    execute format($f$
        create or replace function relinkd.issue_updated() returns trigger %s as $body$
        begin
            if new.%I is null or new.%I is null then return null; end if;
            insert into relinkd.change (telegram_id, issue_id, strip_upto)
                values (new.%I, new.%I, case when old.%I is distinct from new.%I then new.%I end);
            perform relinkd.ring();
            return null;
        end $body$ $f$, definer, i_tg, i_url, i_tg, i_id, i_tg, i_tg, i_id);

    execute format($f$
        create or replace function relinkd.user_inserted() returns trigger %s as $body$
        begin
            insert into relinkd.change (telegram_id)
                select n.%I from inserted n where n.%I is not null;
            if found then perform relinkd.ring(); end if;
            return null;
        end $body$ $f$, definer, u_tg, u_tg);

    -- A token that goes, by an update, a delete or another telegram_id, takes itself out of the links that exist now.
    execute format($f$
        create or replace function relinkd.user_updated() returns trigger %s as $body$
        declare
            moved constant boolean := old.%I is distinct from new.%I;
            lost constant boolean := coalesce(old.%I, '') <> '' and (moved or coalesce(new.%I, '') = '');
        begin
            if old.%I is not null and (moved or lost) then
                insert into relinkd.change (telegram_id, strip_upto)
                    values (old.%I, case when lost then (select max(i.%I) from %s i) end);
            end if;
            if new.%I is not null and (moved or not lost) then
                insert into relinkd.change (telegram_id) values (new.%I);
            end if;
            perform relinkd.ring();
            return null;
        end $body$ $f$, definer, u_tg, u_tg, u_token, u_token, u_tg, u_tg, i_id, issues, u_tg, u_tg);

    execute format($f$
        create or replace function relinkd.user_deleted() returns trigger %s as $body$
        begin
            insert into relinkd.change (telegram_id, strip_upto)
                select o.%I, case when coalesce(o.%I, '') <> '' then (select max(i.%I) from %s i) end
                  from deleted o where o.%I is not null;
            if found then perform relinkd.ring(); end if;
            return null;
        end $body$ $f$, definer, u_tg, u_token, i_id, issues, u_tg);

    execute format($f$
        create or replace function relinkd.users_truncated() returns trigger %s as $body$
        begin
            insert into relinkd.change (telegram_id, strip_upto)
                select i.%I, max(i.%I) from %s i where i.%I is not null group by i.%I;
            perform relinkd.ring();
            return null;
        end $body$ $f$, definer, i_tg, i_id, issues, i_tg, i_tg);

    insert into relinkd.meta as m (schema_version, users_table, users_telegram_id, users_portal_token,
                                   issues_table, issues_id, issues_telegram_id, issues_url)
    select 1, format('%I.%I', un.nspname, uc.relname), u_tg, u_token, format('%I.%I', n.nspname, c.relname), i_id, i_tg, i_url
      from pg_catalog.pg_class uc join pg_catalog.pg_namespace un on un.oid = uc.relnamespace,
           pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where uc.oid = users and c.oid = issues
    on conflict (only_row) do update
       set (schema_version, users_table, users_telegram_id, users_portal_token,
            issues_table, issues_id, issues_telegram_id, issues_url)
         = (excluded.schema_version, excluded.users_table, excluded.users_telegram_id, excluded.users_portal_token,
            excluded.issues_table, excluded.issues_id, excluded.issues_telegram_id, excluded.issues_url);
end $names$;

-- Every user that either table knows gets their links looked at, once.
create or replace function relinkd.queue_everyone() returns bigint
    language sql set search_path = pg_catalog, pg_temp as $queue$
    with queued as (
        insert into relinkd.change (telegram_id)
        select u.telegram_id from relinkd.bot_user u where u.telegram_id is not null
        union
        select i.telegram_id from relinkd.bot_issue i where i.telegram_id is not null
        returning 1)
    select count(*) from queued
$queue$;

-- A table by its full name, for whoever asks: to_regclass refuses those who may not use its schema, as the daemon's role.
create or replace function relinkd.table_of(full_name text) returns regclass
    language sql stable set search_path = pg_catalog, pg_temp as $table$
    select c.oid::regclass from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where format('%I.%I', n.nspname, c.relname) = full_name
$table$;

-- The triggers that call a function of ours, wherever they are.
create or replace view relinkd.own_trigger as
    select t.tgname as name, t.tgrelid::regclass as on_table
      from pg_catalog.pg_trigger t
      join pg_catalog.pg_proc p on p.oid = t.tgfoid
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace and n.nspname = 'relinkd'
     where not t.tgisinternal;

-- The triggers that should be there, with the columns that each watches.
create or replace view relinkd.wanted_trigger as
    select t.name, t.function, relinkd.table_of(case t.on_users when true then m.users_table else m.issues_table end) as on_table,
           t.event, t.watches, t.whole_statement, t.transition
      from relinkd.meta m, lateral (values
        ('relinkd_1_issue_inserted'::name,  'issue_inserted'::name,  false, 'insert',   '{}'::text[], true,  'new table as inserted'),
        ('relinkd_1_issue_updated',         'issue_updated',         false, 'update',   array[m.issues_telegram_id, m.issues_url], false, null),
        ('relinkd_1_user_inserted',         'user_inserted',         true,  'insert',   '{}', true,  'new table as inserted'),
        ('relinkd_1_user_updated',          'user_updated',          true,  'update',   array[m.users_telegram_id, m.users_portal_token], false, null),
        ('relinkd_1_user_deleted',          'user_deleted',          true,  'delete',   '{}', true,  'old table as deleted'),
        ('relinkd_1_users_truncated',       'users_truncated',       true,  'truncate', '{}', true,  null)
      ) t(name, function, on_users, event, watches, whole_statement, transition);

-- Those that are there and in order: right table, right function, right columns, enabled.
create or replace view relinkd.sound_trigger as
    select w.name, w.on_table
      from relinkd.wanted_trigger w
      join pg_catalog.pg_trigger t on t.tgname = w.name and t.tgrelid = w.on_table
      join pg_catalog.pg_proc p on p.oid = t.tgfoid and p.proname = w.function
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace and n.nspname = 'relinkd'
     where t.tgenabled in ('O', 'A')
       and (select coalesce(array_agg(a.attname::text order by a.attname), '{}') from pg_catalog.pg_attribute a
             where a.attrelid = t.tgrelid and a.attnum = any (t.tgattr::int2[]))
         = (select coalesce(array_agg(c order by c::name), '{}') from unnest(w.watches) c);

-- Creates what is missing on one of the two tables and drops what is not wanted there, in this transaction: a short
-- lock against writers. Where all is in order it takes no lock at all. Returns how many triggers it touched.
create or replace function relinkd.attach(target regclass) returns integer
    language plpgsql set search_path = pg_catalog, pg_temp as $attach$
declare
    w record;
    touched integer := 0;
begin
    for w in
        select o.name from relinkd.own_trigger o
         where o.on_table = target and not exists (select from relinkd.sound_trigger s where s.name = o.name and s.on_table = target)
    loop
        execute format('drop trigger %I on %s', w.name, target);
        touched := touched + 1;
    end loop;
    for w in
        select x.* from relinkd.wanted_trigger x
         where x.on_table = target and not exists (select from relinkd.sound_trigger s where s.name = x.name and s.on_table = target)
    loop
        execute format('create trigger %I after %s%s on %s %s for each %s when (%s) execute function relinkd.%I()',
            w.name,
            w.event,
            (select ' of ' || string_agg(format('%I', c), ', ') from unnest(w.watches) c),
            target,
            'referencing ' || w.transition,
            case when w.whole_statement then 'statement' else 'row' end,
            concat_ws(' and ',
                'current_setting(''relinkd.applying'', true) is distinct from ''on''',
                (select '(' || string_agg(format('old.%I is distinct from new.%I', c, c), ' or ') || ')'
                   from unnest(w.watches) c)),
            w.function);
        touched := touched + 1;
    end loop;
    return touched;
end $attach$;

-- Drops our triggers on a table.
create or replace function relinkd.detach(target regclass) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $detach$
declare
    w record;
begin
    for w in select o.name from relinkd.own_trigger o where o.on_table = target loop
        execute format('drop trigger %I on %s', w.name, target);
    end loop;
end $detach$;

revoke execute on all functions in schema relinkd from public;


-- The triggers on the bot's two tables: a short lock against writers, and none where they are in order already.
select relinkd.attach(relinkd.table_of(users_table)), relinkd.attach(relinkd.table_of(issues_table)) from relinkd.meta;

-- Tables that were the bot's before, under an earlier configuration.
select relinkd.detach(t.on_table)
  from (select distinct o.on_table from relinkd.own_trigger o) t, relinkd.meta m
 where t.on_table not in (relinkd.table_of(m.users_table), relinkd.table_of(m.issues_table));


-- What the daemon's role needs, and no more: it owns nothing, and of the bot's tables it sees only the four columns in
-- the two views and writes only the token and the link. The role's name arrives as the setting relinkd.role.

do $grants$
declare
    role name := current_setting('relinkd.role');
begin
    if not has_database_privilege(role, current_database(), 'connect') then
        execute format('grant connect on database %I to %I', current_database(), role);
        update relinkd.meta set granted_connect_to = role;
    end if;
    execute format('grant usage on schema relinkd to %I', role);
    execute format('grant select, update (portal_token) on relinkd.bot_user to %I', role);
    execute format('grant select, update (url) on relinkd.bot_issue to %I', role);
    execute format('grant select, insert, update, delete on relinkd.change, relinkd.walk, relinkd.token_mark,
                    relinkd.unusable, relinkd.ledger, relinkd.daemon to %I', role);
    execute format('grant select, update (portal_fingerprint, audit_finished_at, audit_found) on relinkd.meta to %I', role);
    execute format('grant select on relinkd.own_trigger, relinkd.wanted_trigger, relinkd.sound_trigger to %I', role);
    execute format('grant execute on function relinkd.user_key(bigint), relinkd.ring(), relinkd.alive(relinkd.daemon),
                    relinkd.queue_everyone(), relinkd.table_of(text) to %I', role);
end $grants$;


commit;

-- The index by which a user's issues are walked in order of id; nothing where the table has such a one already.
-- Built concurrently: the bot goes on writing meanwhile. What a failed attempt left behind is dropped first, and so is
-- the one of a table that was the bot's before. Each row is a statement to run, outside a transaction.

select format('drop index concurrently if exists %I.%I', n.nspname, c.relname)
  from relinkd.meta m
  join pg_catalog.pg_class c on c.relname = 'relinkd_issue_walk'
  join pg_catalog.pg_index x on x.indexrelid = c.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where not x.indisvalid or x.indrelid <> relinkd.table_of(m.issues_table)
union all
select format('create index concurrently relinkd_issue_walk on %s (%I, %I)',
              m.issues_table, m.issues_telegram_id, m.issues_id)
  from relinkd.meta m
 where not exists (
       select from pg_catalog.pg_index x
        where x.indrelid = relinkd.table_of(m.issues_table) and x.indisvalid and x.indpred is null and x.indnkeyatts >= 2
          and (select a.attname from pg_catalog.pg_attribute a
                where a.attrelid = x.indrelid and a.attnum = x.indkey[0]) = m.issues_telegram_id
          and (select a.attname from pg_catalog.pg_attribute a
                where a.attrelid = x.indrelid and a.attnum = x.indkey[1]) = m.issues_id)
\gexec


select relinkd.queue_everyone();

-- Keeps tokens out of the server's log: bind parameters of slow statements are not printed, nor the DETAIL of an error,
-- which quotes the row. These are a superuser's settings; another admin is told what to ask for. The role's name is the
-- setting relinkd.role.
do $quiet$
declare
    setting text;
begin
    foreach setting in array array['log_parameter_max_length = 0', 'log_parameter_max_length_on_error = 0',
                                   'log_error_verbosity = terse'] loop
        execute format('alter role %I set %s', current_setting('relinkd.role'), setting);
    end loop;
exception when insufficient_privilege then
    raise warning 'the server''s log may show tokens of slow statements: see `relinkd check` for what a superuser can do';
end $quiet$;

