-- Binds schema relinkd to the bot's two tables, by name once; afterwards whatever is renamed is followed.
--
-- The bot's writes run our trigger functions, with the rights of the table's owner (security definer), who may append
-- to relinkd.change and nothing else. The functions have no `set search_path` clause, which costs a third of a
-- trigger's time: there is nothing in them that the caller's search path could turn to another meaning, no operator, no
-- cast, no unqualified name. What needs operators is in SQL functions whose bodies were parsed here, once
-- (`begin atomic`: Postgres manual, CREATE FUNCTION).

create or replace function relinkd.issue_inserted() returns trigger language plpgsql security definer as $body$
begin
    insert into relinkd.change (telegram_id, issue_id)
        select relinkd.issue_user(n), relinkd.issue_id(n) from inserted n
         where relinkd.issue_user(n) is not null and relinkd.issue_url(n) is not null;
    if found then
        -- The doorbell: whoever sleeps holds this lock. Got it: nobody sleeps, and nobody can before this commit.
        if not pg_catalog.pg_try_advisory_xact_lock_shared(1919249515, 0) then perform pg_catalog.pg_notify('relinkd', ''); end if;
    end if;
    return null;
end $body$;

create or replace function relinkd.issue_updated() returns trigger language plpgsql security definer as $body$
begin
    if relinkd.issue_url(new) is null or relinkd.issue_either_user(old, new) is null then return null; end if;
    insert into relinkd.change (telegram_id, issue_id, strip)
        values (relinkd.issue_either_user(old, new), relinkd.issue_id(new), relinkd.issue_strip(old, new));
    if not pg_catalog.pg_try_advisory_xact_lock_shared(1919249515, 0) then perform pg_catalog.pg_notify('relinkd', ''); end if;
    return null;
end $body$;

create or replace function relinkd.user_inserted() returns trigger language plpgsql security definer as $body$
begin
    insert into relinkd.change (telegram_id)
        select relinkd.user_id(n) from inserted n where relinkd.user_id(n) is not null and relinkd.user_has_value(n);
    if found then
        if not pg_catalog.pg_try_advisory_xact_lock_shared(1919249515, 0) then perform pg_catalog.pg_notify('relinkd', ''); end if;
    end if;
    return null;
end $body$;

-- A token that goes, by an update, a delete or another telegram_id, takes itself out of the links. A sealed one says
-- which it was; for one in plaintext, which may stand in no table of ours, every token goes from the user's links.
create or replace function relinkd.user_updated() returns trigger language plpgsql security definer as $body$
begin
    if relinkd.user_id(old) is not null and relinkd.user_loses(old, new) then
        insert into relinkd.change (telegram_id, strip, former, assigned)
            values (relinkd.user_id(old), relinkd.user_in_plaintext(old), relinkd.user_sealed(old),
                    pg_catalog.starts_with(pg_catalog.current_setting('relinkd.assigning', true), 'on'));
    end if;
    if relinkd.user_id(new) is not null and relinkd.user_has_value(new) then
        insert into relinkd.change (telegram_id, assigned)
            values (relinkd.user_id(new), pg_catalog.starts_with(pg_catalog.current_setting('relinkd.assigning', true), 'on'));
    end if;
    if found then   -- by either of the two
        if not pg_catalog.pg_try_advisory_xact_lock_shared(1919249515, 0) then perform pg_catalog.pg_notify('relinkd', ''); end if;
    end if;
    return null;
end $body$;

create or replace function relinkd.user_deleted() returns trigger language plpgsql security definer as $body$
begin
    insert into relinkd.change (telegram_id, strip, former)
        select relinkd.user_id(o), relinkd.user_in_plaintext(o), relinkd.user_sealed(o) from deleted o
         where relinkd.user_id(o) is not null and relinkd.user_has_value(o);
    if found then
        if not pg_catalog.pg_try_advisory_xact_lock_shared(1919249515, 0) then perform pg_catalog.pg_notify('relinkd', ''); end if;
    end if;
    return null;
end $body$;

-- Nobody says which tokens these were; the fingerprints of those that links carry do.
create or replace function relinkd.users_truncated() returns trigger language plpgsql security definer as $body$
begin
    insert into relinkd.change (telegram_id) values (null);
    if not pg_catalog.pg_try_advisory_xact_lock_shared(1919249515, 0) then perform pg_catalog.pg_notify('relinkd', ''); end if;
    return null;
end $body$;

-- Lets go of the bot's tables in this transaction: triggers, views and accessors. Between this and relinkd.attach() a
-- column may change its type or be dropped. The names of the moment are kept for attach().
--
-- The bot waits behind a lock that is asked for as well as behind one that is held: what is not had at once is given up
-- (lock_timeout), and the transaction is to be tried again.
create or replace function relinkd.detach() returns void
    language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $detach$
declare
    t record;
begin
    update relinkd.meta m
       set users_schema = u.schema_name, users_table = u.table_name, users_telegram_id = u.column_name,
           users_portal_token = (select b.column_name from relinkd.bound b where b.part = 'users.portal_token'),
           issues_schema = i.schema_name, issues_table = i.table_name, issues_id = i.column_name,
           issues_telegram_id = (select b.column_name from relinkd.bound b where b.part = 'issues.telegram_id'),
           issues_url = (select b.column_name from relinkd.bound b where b.part = 'issues.url')
      from relinkd.bound u, relinkd.bound i
     where u.part = 'users.telegram_id' and i.part = 'issues.id';
    for t in select distinct o.table_id from relinkd.own_trigger o order by 1 loop
        execute format('lock table only %s in access exclusive mode', t.table_id::regclass);
    end loop;
    for t in select o.name, o.table_id from relinkd.own_trigger o loop
        execute format('drop trigger %I on %s', t.name, t.table_id::regclass);
    end loop;
    for t in select c.oid from pg_class c where c.oid in (to_regclass('relinkd.bot_user'), to_regclass('relinkd.bot_issue')) loop
        execute format('drop view %s', t.oid::regclass);
    end loop;
    for t in
        select p.oid::regprocedure as accessor from pg_proc p
         where p.pronamespace = 'relinkd'::regnamespace
           and exists (select from pg_type y where y.oid = any (p.proargtypes) and y.typtype = 'c'
                        and y.typnamespace <> 'relinkd'::regnamespace)
         order by p.oid desc   -- those that call others were made after them
    loop
        execute format('drop function %s', t.accessor);
    end loop;
end $detach$;

-- Binds to the tables and columns that relinkd.meta names: accessors, views, triggers, the owners' right to append and
-- the daemon's grants. Where all is in order it changes nothing and takes no lock that a writer would notice. Says whether
-- it changed anything; then everybody is queued: what was not bound to these tables before has to be looked at once.
create or replace function relinkd.attach() returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $attach$
declare
    m relinkd.meta;
    users oid;
    issues oid;
    part record;
    problem text;
    changed boolean := false;
begin
    select * into m from relinkd.meta;
    for part in
        select * from (values ('users', m.users_schema, m.users_table), ('issues', m.issues_schema, m.issues_table))
                      v(of, schema_name, table_name)
    loop
        select case when c.relkind <> 'r' or c.relispartition
                    then format('%I.%I must be an ordinary table', n.nspname, c.relname) end
          into problem
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = part.schema_name and c.relname = part.table_name;
        if not found then
            raise exception using errcode = 'undefined_table',
                message = format('there is no table %I.%I', part.schema_name, part.table_name),
                hint = format('See tables.%s.name in the configuration.', part.of);
        elsif problem is not null then
            raise exception using errcode = 'wrong_object_type', message = problem,
                hint = 'A row that moves between partitions fires no trigger: relinkd cannot keep such links right.';
        end if;
        -- From here on the name stays with its table: to rename one, or to put another in its place, waits for this.
        execute format('lock table only %I.%I in access share mode', part.schema_name, part.table_name);
    end loop;
    select c.oid into users from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = m.users_schema and c.relname = m.users_table;
    select c.oid into issues from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = m.issues_schema and c.relname = m.issues_table;
    if (select count(*) from pg_class c where c.oid in (users, issues) and c.relkind = 'r') <> 2 then
        raise exception using errcode = 'lock_not_available', message = 'the bot''s tables are being replaced at this moment';
    end if;

    select string_agg(case when a.attnum is null then format('%s has no column %I', w.table_id::regclass, w.name)
                           else format('%I in %s is %s, and must be %s', w.name, w.table_id::regclass,
                                       format_type(a.atttypid, a.atttypmod), case w.kind when 'number' then 'bigint' else 'varchar' end) end,
                      '; ')
      into problem
      from (values (users, m.users_telegram_id, 'number'), (users, m.users_portal_token, 'text'),
                   (issues, m.issues_id, 'number'), (issues, m.issues_telegram_id, 'number'), (issues, m.issues_url, 'text'))
           w(table_id, name, kind)
      left join pg_attribute a on a.attrelid = w.table_id and a.attname = w.name and a.attnum > 0 and not a.attisdropped
      left join pg_type t on t.oid = a.atttypid
     where a.attnum is null
        or coalesce(nullif(t.typbasetype, 0), t.oid) <> all (case w.kind
               when 'number' then array['int2'::regtype, 'int4'::regtype, 'int8'::regtype]
               else array['text'::regtype, 'varchar'::regtype] end::oid[]);
    if problem is not null then
        raise exception using errcode = 'datatype_mismatch', message = problem;
    end if;

    -- Bound to something else, or to nothing: anew.
    if (select count(*) from relinkd.bound b
         where (b.part, b.table_id, b.column_name) in
               (('users.telegram_id', users, m.users_telegram_id), ('users.portal_token', users, m.users_portal_token),
                ('issues.id', issues, m.issues_id), ('issues.telegram_id', issues, m.issues_telegram_id),
                ('issues.url', issues, m.issues_url))) <> 5
    or to_regclass('relinkd.bot_user') is null or to_regclass('relinkd.bot_issue') is null
    then
        perform relinkd.detach();
        update relinkd.meta k
           set (users_schema, users_table, users_telegram_id, users_portal_token,
                issues_schema, issues_table, issues_id, issues_telegram_id, issues_url)
             = (m.users_schema, m.users_table, m.users_telegram_id, m.users_portal_token,
                m.issues_schema, m.issues_table, m.issues_id, m.issues_telegram_id, m.issues_url);
        perform relinkd.bind(users, issues);
        changed := true;
    end if;
    perform relinkd.entrust(users, '{user_inserted,user_updated,user_deleted,users_truncated}');
    perform relinkd.entrust(issues, '{issue_inserted,issue_updated}');
    -- Former owners of the tables have no business here any more.
    for part in
        select distinct r.rolname
          from pg_attribute a cross join lateral aclexplode(a.attacl) g join pg_roles r on r.oid = g.grantee
         where a.attrelid = 'relinkd.change'::regclass and r.rolname <> m.daemon_role
           and r.oid not in (select c.relowner from pg_class c where c.oid in (users, issues, 'relinkd.change'::regclass))
    loop
        execute format('revoke insert (telegram_id, issue_id, strip, former, assigned) on relinkd.change from %I', part.rolname);
        execute format('revoke usage on schema relinkd from %I', part.rolname);
    end loop;
    for part in select g.kind, g.object, g.privilege from relinkd.wanted_grant g loop
        execute format('grant %s on %s %s to %I', part.privilege, part.kind, part.object, m.daemon_role);
    end loop;
    if relinkd.arm() or changed then
        insert into relinkd.change (telegram_id) values (null);
        perform pg_notify('relinkd', '');
        return true;
    end if;
    return false;
end $attach$;

-- The accessors and the views, with the names of relinkd.meta.
create or replace function relinkd.bind(users oid, issues oid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $bind$
declare
    m relinkd.meta;
    g record;
begin
    select * into m from relinkd.meta;
    execute format($f$
        create function relinkd.user_id(u %1$s) returns bigint language sql immutable
            begin atomic select (u).%2$I::bigint; end;
        create function relinkd.user_token(u %1$s) returns text language sql immutable
            begin atomic select (u).%3$I::text; end;
        create function relinkd.user_has_value(u %1$s) returns boolean language sql immutable
            begin atomic select coalesce(relinkd.user_token(u) <> '', false); end;
        create function relinkd.user_sealed(u %1$s) returns text[] language sql immutable
            begin atomic select case when starts_with(relinkd.user_token(u), 'relinkd:')
                and octet_length(relinkd.user_token(u)) <= 512 then array[relinkd.user_token(u)] end; end;
        create function relinkd.user_in_plaintext(u %1$s) returns boolean language sql immutable
            begin atomic select case when relinkd.user_has_value(u) and relinkd.user_sealed(u) is null then true end; end;
        create function relinkd.user_loses(a %1$s, b %1$s) returns boolean language sql immutable
            begin atomic select relinkd.user_has_value(a)
                and (relinkd.user_id(a) is distinct from relinkd.user_id(b) or not relinkd.user_has_value(b)); end;
        create view relinkd.bot_user as
            select u.%2$I as telegram_id, u.%3$I as portal_token, u.xmin as version, u.ctid as place from %1$s u;
        $f$, users::regclass, m.users_telegram_id, m.users_portal_token);
    execute format($f$
        create function relinkd.issue_id(i %1$s) returns bigint language sql immutable
            begin atomic select (i).%2$I::bigint; end;
        create function relinkd.issue_user(i %1$s) returns bigint language sql immutable
            begin atomic select (i).%3$I::bigint; end;
        create function relinkd.issue_url(i %1$s) returns text language sql immutable
            begin atomic select (i).%4$I::text; end;
        create function relinkd.issue_either_user(a %1$s, b %1$s) returns bigint language sql immutable
            begin atomic select coalesce(relinkd.issue_user(b), relinkd.issue_user(a)); end;
        create function relinkd.issue_link_token(i %1$s) returns text language sql immutable
            begin atomic select substring(relinkd.issue_url(i) from '[?&]token=([^&#]*)'); end;
        -- Another token in the link: what was to be stripped is gone. The same token in other hands: it has to go.
        create function relinkd.issue_strip(a %1$s, b %1$s) returns boolean language sql immutable
            begin atomic select case
                when relinkd.issue_url(a) is distinct from relinkd.issue_url(b)
                 and relinkd.issue_link_token(a) is distinct from relinkd.issue_link_token(b) then false
                when relinkd.issue_user(a) is distinct from relinkd.issue_user(b) then true end; end;
        create view relinkd.bot_issue as
            select i.%2$I as id, i.%3$I as telegram_id, i.%4$I as url, i.xmin as version, i.ctid as place from %1$s i;
        $f$, issues::regclass, m.issues_id, m.issues_telegram_id, m.issues_url);
    -- Default privileges of the admin's must not open these doors to others.
    for g in
        select distinct c.oid::regclass as door, coalesce(quote_ident(r.rolname), 'public') as grantee
          from pg_class c cross join lateral aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
         where c.oid in ('relinkd.bot_user'::regclass, 'relinkd.bot_issue'::regclass) and a.grantee <> c.relowner
    loop
        execute format('revoke all on %s from %s', g.door, g.grantee);
    end loop;
end $bind$;

-- Hands trigger functions to the owner of their table, and gives that role what they need.
create or replace function relinkd.entrust(on_table oid, functions name[]) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $entrust$
declare
    keeper name;
    mine boolean;
    f record;
begin
    select r.rolname, r.rolname = current_user into keeper, mine
      from pg_class c join pg_roles r on r.oid = c.relowner where c.oid = on_table;
    if not mine then
        execute format('grant usage on schema relinkd to %I', keeper);
        execute format('grant insert (telegram_id, issue_id, strip, former, assigned) on relinkd.change to %I', keeper);
    end if;
    for f in
        select p.oid::regprocedure as function from pg_proc p
         where p.pronamespace = 'relinkd'::regnamespace
           and (select t.typrelid from pg_type t where t.oid = p.proargtypes[0]) = on_table
    loop
        execute format('revoke execute on function %s from public', f.function);
        if not mine then
            execute format('grant execute on function %s to %I', f.function, keeper);
        end if;
    end loop;
    for f in
        select p.oid::regprocedure as function from pg_proc p join pg_roles r on r.oid = p.proowner
         where p.pronamespace = 'relinkd'::regnamespace and p.proname = any (functions) and r.rolname <> keeper
    loop
        -- The new owner of a function must be allowed to create one: for a moment that nobody else sees.
        execute format('grant create on schema relinkd to %I', keeper);
        execute format('alter function %s owner to %I', f.function, keeper);
        execute format('revoke create on schema relinkd from %I', keeper);
    end loop;
end $entrust$;

-- The triggers: creates what is missing, drops what is not wanted, wherever it is. A short lock against writers, and
-- none where they are in order. Says whether it changed anything.
create or replace function relinkd.arm() returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $arm$
declare
    statements text[];
    statement text;
begin
    -- All is worked out before the locks are taken: both at once, in one order; to drop a trigger takes the stronger one.
    with unsound(place, name, table_id) as (
        select 1, o.name, o.table_id from relinkd.own_trigger o
         where not exists (select from relinkd.sound_trigger s where s.name = o.name and s.table_id = o.table_id)
         union all
        select 2, w.name, w.table_id from relinkd.wanted_trigger w
         where not exists (select from relinkd.sound_trigger s where s.name = w.name and s.table_id = w.table_id)
    ), doing(place, table_id, sql) as (
        select 0, u.table_id,
               format('lock table only %s in %s mode', u.table_id::regclass,
                      case when min(u.place) = 1 then 'access exclusive' else 'share row exclusive' end)
          from unsound u group by u.table_id
         union all
        select u.place, u.table_id, format('drop trigger %I on %s', u.name, u.table_id::regclass)
          from unsound u where u.place = 1
         union all
        select u.place, u.table_id,
               format('create trigger %I after %s%s on %s %s for each %s %s execute function relinkd.%I()',
                      u.name,
                      w.event,
                      (select ' of ' || string_agg(format('%I', b.column_name), ', ' order by b.column_number)
                         from relinkd.bound b where b.part = any (w.watches)),
                      u.table_id::regclass,
                      'referencing ' || w.transition,
                      case when w.watches = '{}' then 'statement' else 'row' end,
                      -- relinkd itself updates, and that alone. A condition costs a statement more than all that the
                      -- function does: where there is nothing to tell apart there is none.
                      (select format('when (current_setting(''relinkd.applying'', true) is distinct from ''on'' and (%s))',
                                     string_agg(format('old.%1$I is distinct from new.%1$I', b.column_name), ' or '))
                         from relinkd.bound b where b.part = any (w.watches) having count(*) > 0),
                      w.function)
          from unsound u join relinkd.wanted_trigger w on w.name = u.name and w.table_id = u.table_id
         where u.place = 2
    )
    select array_agg(d.sql order by d.place, d.table_id) into statements from doing d;
    foreach statement in array coalesce(statements, '{}') loop
        execute statement;
    end loop;
    return statements is not null;
end $arm$;

-- The names of this install, and the daemon's role.
insert into relinkd.meta as m (schema_version, users_schema, users_table, users_telegram_id, users_portal_token,
                               issues_schema, issues_table, issues_id, issues_telegram_id, issues_url, daemon_role)
select 2, current_setting('relinkd.users_schema'), current_setting('relinkd.users_table'),
       current_setting('relinkd.users_telegram_id'), current_setting('relinkd.users_portal_token'),
       current_setting('relinkd.issues_schema'), current_setting('relinkd.issues_table'), current_setting('relinkd.issues_id'),
       current_setting('relinkd.issues_telegram_id'), current_setting('relinkd.issues_url'), current_setting('relinkd.role')
on conflict (only_row) do update
   set (schema_version, users_schema, users_table, users_telegram_id, users_portal_token,
        issues_schema, issues_table, issues_id, issues_telegram_id, issues_url, daemon_role)
     = (2, excluded.users_schema, excluded.users_table, excluded.users_telegram_id, excluded.users_portal_token,
        excluded.issues_schema, excluded.issues_table, excluded.issues_id, excluded.issues_telegram_id, excluded.issues_url,
        excluded.daemon_role);

do $all$
declare
    role constant text := current_setting('relinkd.role');
    t record;
begin
    if not has_database_privilege(role, current_database(), 'connect') then
        execute format('grant connect on database %I to %I', current_database(), role);
        update relinkd.meta set granted_connect_to = role;
    end if;
    update relinkd.meta set portal_fingerprint = null where portal_fingerprint = 'uninstalling';
    revoke execute on all functions in schema relinkd from public;

    -- The locks that the bot's writes wait for come from here on, and last until the commit that follows.
    if to_regclass('relinkd.walk') is not null then   -- version 1
        for t in select distinct o.table_id from relinkd.own_trigger o order by 1 loop
            execute format('lock table only %s in access exclusive mode', t.table_id::regclass);
        end loop;
        alter table relinkd.change
            alter column telegram_id drop not null, alter column id set generated by default,
            add column cursor bigint, add column strip boolean, add column former text[],
            add column assigned boolean,
            add column attempts integer not null default 0, add column last_error text,
            set (autovacuum_vacuum_insert_threshold = -1);
        update relinkd.change set strip = true where strip_upto is not null;
        insert into relinkd.change (telegram_id, strip, at)
            select w.telegram_id, case when w.strip_upto is not null then true end, w.since from relinkd.walk w;
        alter table relinkd.change drop column strip_upto;
        drop table relinkd.walk;
        drop function relinkd.ring();
    end if;
    -- Read by `relinkd install`: whether there was anything to do.
    perform set_config('relinkd.changed', relinkd.attach()::text, false);
end $all$;
