-- What `relinkd check` asks the database. Each row is a finding: id, severity (ok, warning, fault), what there is, and the
-- step that mends it. Looks only.
--
-- The queries run as the daemon's role, in one read-only transaction whose search path is Postgres' own. Each begins with
-- `-- == NAME`. `server`, `strangers`, `version` and `rights` are asked in this order, up to the first with a fault;
-- `bound`, `installed` and `rows`, which read schema relinkd, follow where there was none. `tables` and `settings` are
-- always asked: before `install` too, for a role that may do nothing yet. Tables are looked up by name in pg_class, for
-- `regclass` wants USAGE on their schema. What belongs to others is not read.
--
-- What Rust knows arrives in settings: the names (as in sql/schema.sql), relinkd.known_version (of the schema),
-- relinkd.sealed_length (of the longest sealed token), relinkd.endpoint. In the last column {install} and {edit} stand
-- for steps that depend on the configuration.

-- == admin
-- Who can install: the owner of schema relinkd, else of the bot's tables.
select pg_get_userbyid(x.owner)::text
  from (select n.nspowner, 1 from pg_namespace n where n.nspname = 'relinkd'
         union all
        select c.relowner, case when n.nspname = current_setting('relinkd.users_schema', true) then 2 else 3 end
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where (n.nspname, c.relname) in ((current_setting('relinkd.users_schema', true), current_setting('relinkd.users_table', true)),
                                          (current_setting('relinkd.issues_schema', true), current_setting('relinkd.issues_table', true)))
       ) x(owner, preference)
 order by x.preference limit 1

-- == server
with server as (
    select current_setting('server_version_num')::int4 / 10000 as major,
           format('Postgres %s at %s', current_setting('server_version'), current_setting('relinkd.endpoint')) as name
), me as (
    select r.rolname from pg_roles r where r.rolname = current_user and r.rolsuper
)
select f.id, f.severity, f.what, f.mend from (
    select 1, 'version', case when s.major < 14 then 'fault' when s.major > 18 then 'warning' else 'ok' end,
           s.name || case when s.major < 14 then ': relinkd needs version 14 or newer'
                          when s.major > 18 then ': this relinkd is tested up to version 18' else ', reachable and writable' end,
           case when s.major < 14 then format('pg_upgradecluster %s main # as root, on the database''s machine', s.major)
                when s.major > 18 then 'apt-get install --only-upgrade relinkd # as root' end
      from server s
    union all
    select 2, 'superuser', 'warning',
           format('the role %I is a superuser, and may do anything on this server; the rows of the bot''s tables are not looked at with such rights', m.rolname),
           case when m.rolname = 'postgres' then '{install} --role relinkd # then name that role in database.url'
                else format('alter role %I nosuperuser; -- as another superuser', m.rolname) end
      from me m
    union all
    select 3, 'schema', 'fault', 'schema relinkd is missing', '{install}' where to_regnamespace('relinkd') is null
) f(n, id, severity, what, mend) order by f.n

-- == strangers
-- The rule of sql/refuse.sql, seen from the daemon's role: trusted is who installed, if they may.
with home as (
    select n.oid, n.nspowner, k.rolname as keeper, k.rolsuper as superuser
      from pg_namespace n join pg_roles k on k.oid = n.nspowner where n.nspname = 'relinkd'
), trusted as (
    select r.oid from pg_roles r, home h
     where r.oid = h.nspowner
       and (h.superuser or not exists (
                select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 where (n.nspname, c.relname) in ((current_setting('relinkd.users_schema', true), current_setting('relinkd.users_table', true)),
                                                  (current_setting('relinkd.issues_schema', true), current_setting('relinkd.issues_table', true)))
                   and not pg_has_role(h.nspowner, c.relowner, 'usage')))
        or r.rolsuper and h.superuser
), object(class, id, owner) as (
    select 'pg_namespace'::regclass, h.oid, h.nspowner from home h
    union all
    -- Of trigger functions anybody may be the owner: nothing of ours calls them.
    select o.classid::regclass, o.objid, o.refobjid
      from home h
      join pg_depend d on d.refclassid = 'pg_namespace'::regclass and d.refobjid = h.oid
      join pg_shdepend o on o.classid = d.classid and o.objid = d.objid and o.deptype = 'o' and o.refclassid = 'pg_authid'::regclass
                        and o.dbid = (select b.oid from pg_database b where b.datname = current_database())
     where not (o.classid = 'pg_proc'::regclass
                and exists (select from pg_proc p where p.oid = o.objid and p.prorettype = 'trigger'::regtype
                               and p.proname in ('issue_inserted', 'issue_updated', 'user_inserted', 'user_updated',
                                                 'user_deleted', 'users_truncated')))
), stranger(what, mend) as (
    select format('%s belongs to role %I', pg_describe_object(o.class, o.id, 0), pg_get_userbyid(o.owner)),
           format('drop %s cascade; -- as a superuser, after a look at who made it; then install relinkd again',
                  pg_describe_object(o.class, o.id, 0))
      from object o where o.owner not in (select t.oid from trusted t)
    union all
    select format('role %s has the right %s on %s', coalesce(quote_ident(r.rolname), 'public'), g.privilege_type, g.object),
           format('revoke %s on %s from %s; -- as %I, or a superuser', lower(g.privilege_type), g.object,
                  coalesce(quote_ident(r.rolname), 'public'), (select h.keeper from home h))
      from (select 'schema relinkd' as object, n.nspowner as owner, a.*
              from pg_namespace n cross join lateral aclexplode(n.nspacl) a where n.nspname = 'relinkd'
            union all
            select format('relinkd.%I', c.relname), c.relowner, a.*
              from home h join pg_class c on c.relnamespace = h.oid cross join lateral aclexplode(c.relacl) a) g
      left join pg_roles r on r.oid = g.grantee
     where g.privilege_type in ('CREATE', 'TRIGGER', 'REFERENCES') and g.grantee <> g.owner
    union all
    select format('relinkd.%I has the trigger %I, which is not of relinkd', c.relname, t.tgname),
           format('drop trigger %I on relinkd.%I; -- as a superuser', t.tgname, c.relname)
      from home h join pg_class c on c.relnamespace = h.oid join pg_trigger t on t.tgrelid = c.oid
), lacking(what) as (
    -- Without these nothing more can be read.
    select 'usage on schema relinkd' from home h where not has_schema_privilege(h.oid, 'usage')
    union all
    select format('select on relinkd.%I', c.relname) from home h join pg_class c on c.relnamespace = h.oid
     where c.relname in ('meta', 'wanted_grant') and not has_table_privilege(c.oid, 'select')
)
select f.id, f.severity, f.what, f.mend from (
    (select 1, 'stranger', 'fault',
            s.what || coalesce(' (and ' || nullif(count(*) over () - 1, 0) || ' more)', '') || ': others could run their code through relinkd', s.mend
       from stranger s order by s.what like 'schema%' desc, s.what limit 1)
    union all
    select 2, 'rights', 'fault', format('the role %I lacks %s', current_user, string_agg(l.what, ', ')), '{install}'
      from lacking l having count(*) > 0
) f(n, id, severity, what, mend) order by f.n

-- == version
select 'schema', case when m.schema_version = k.version then 'ok' else 'fault' end,
       case when m.schema_version is null then 'schema relinkd is not whole: relinkd.meta is empty'
            when m.schema_version = k.version then format('schema relinkd has version %s', k.version)
            else format('schema relinkd has version %s, this relinkd needs version %s', m.schema_version, k.version) end,
       case when m.schema_version > k.version then 'apt-get install --only-upgrade relinkd # as root'
            when m.schema_version is distinct from k.version then '{install}' end
  from (select current_setting('relinkd.known_version')::int4) k(version) left join relinkd.meta m on true

-- == rights
with wanted as (
    select g.*, case g.kind when 'schema' then true when 'function' then to_regprocedure(g.object) is not null
                            else to_regclass(g.object) is not null end as exists
      from relinkd.wanted_grant g
), lacking(what) as (
    select w.privilege || ' on ' || case w.kind when 'table' then '' else w.kind || ' ' end || w.object
      from wanted w
     where not case
               when not w.exists then true
               when w.kind = 'schema' then has_schema_privilege(w.object, w.privilege)
               when w.kind = 'function' then has_function_privilege(w.object, w.privilege)
               when w.privilege like '%(%' then has_column_privilege(w.object, substring(w.privilege from '\((.*)\)'),
                                                                     substring(w.privilege from '^\w+'))
               else has_table_privilege(w.object, w.privilege) end
)
select 'whole', 'fault',
       format('schema relinkd is not whole, %s is missing: relinkd.detach() was left without relinkd.attach(), or a table was dropped with `cascade`',
              string_agg(distinct w.object, ', ')), '{install}'
  from wanted w where not w.exists having count(*) > 0
union all
select 'rights', case when count(*) = 0 then 'ok' else 'fault' end,
       format('the role %I ', current_user)
           || case when count(*) = 0 then 'may do what relinkd needs' else 'lacks ' || string_agg(l.what, ', ') end,
       case when count(*) > 0 then '{install}' end
  from lacking l

-- == bound
-- For `tables`: what relinkd is bound to. No finding.
select set_config('relinkd.bound', coalesce(jsonb_agg(b), '[]')::text, true) from relinkd.bound b

-- == installed
with trigger_state as (
    select w.name, w.table_id,
           case when s.name is not null then 'sound'
                when o.name is null then 'is missing'
                when o.enabled not in ('O', 'A') then 'is disabled'
                when not o.intact then 'runs a function that was altered, or belongs to a former owner of the table'
                when o.conditional = (w.watches = '{}') then 'has another condition than it should'
                else 'does not watch what it should' end as state
      from relinkd.wanted_trigger w
      left join relinkd.own_trigger o on o.name = w.name and o.table_id = w.table_id
      left join relinkd.sound_trigger s on s.name = w.name and s.table_id = w.table_id
    union all
    select o.name, o.table_id, 'does not belong there: it is of another version, or of a table that was the bot''s before'
      from relinkd.own_trigger o
     where not exists (select from relinkd.wanted_trigger w where w.name = o.name and w.table_id = o.table_id)
), daemon as (
    select d.* from relinkd.daemon d where relinkd.alive(d)
)
select f.id, f.severity, f.what, f.mend from (
    select 1, 'trigger', 'fault',
           format('the trigger %I on %s %s', t.name, coalesce(quote_ident(n.nspname) || '.' || quote_ident(c.relname), 'a table that is gone'), t.state),
           '{install}'
      from trigger_state t left join pg_class c on c.oid = t.table_id left join pg_namespace n on n.oid = c.relnamespace
     where t.state <> 'sound'
    union all
    select 2, 'triggers', 'ok', format('triggers %s/%1$s: in place and enabled', count(*)), null
      from trigger_state t having bool_and(t.state = 'sound')
    union all
    select 3, 'daemon', 'warning', 'no daemon is at work: nothing is brought into links', 'systemctl start relinkd'
     where not exists (select from daemon)
    union all
    select 4, case when bool_or(d.mode = 'listen') then 'listening daemon' else 'daemon' end, 'ok',
           format('daemons at work: %s (%s)', count(*), string_agg(distinct d.mode, ', ')), null
      from daemon d having count(*) > 0
    union all
    select 5, 'portal', 'warning',
           'the configuration of a daemon has another [portal] than the one that links follow: that daemon waits for a reload', 'systemctl reload relinkd'
      from daemon d where d.other_portal
    union all
    select 6, 'files', 'warning', format('a daemon''s drop files wait: %s', d.files_wait), 'relinkd status'
      from daemon d where d.files_wait is not null
    union all
    select 7, 'dead rows', 'warning',
           format('relinkd.%I has %s dead rows and %s live ones: relinkd gets slower', s.relname, s.n_dead_tup, s.n_live_tup),
           format('vacuum relinkd.%I; -- as %I, or a superuser; first see to what holds them, named below if anything does',
                  s.relname, pg_get_userbyid(c.relowner))
      from pg_stat_all_tables s join pg_class c on c.oid = s.relid
     where s.schemaname = 'relinkd' and s.n_dead_tup > 50000 and s.n_dead_tup > s.n_live_tup
) f(n, id, severity, what, mend) order by f.n, f.what

-- == rows
with repeated as (
    select u.telegram_id, row_number() over (order by u.telegram_id) as n
      from relinkd.bot_user u where u.telegram_id is not null group by u.telegram_id having count(*) > 1
), list as (
    select string_agg(r.telegram_id::text, ', ' order by r.n) filter (where r.n <= 20) as shown, count(*) as total from repeated r
)
select 'repeated', 'fault',
       'these users stand in more than one row: ' || l.shown || case when l.total > 20 then format(' and %s more', l.total - 20) else '' end,
       format('select * from %I.%I where %I in (%s); -- as %I; then delete the rows that the bot does not use',
              b.schema_name, b.table_name, b.column_name, l.shown, pg_get_userbyid(b.owner))
  from list l join relinkd.bound b on b.part = 'users.telegram_id' where l.total > 0

-- == tables
with given(part, kind, schema_name, table_name, column_name) as (
    select g.part, g.kind, current_setting('relinkd.' || g.of || '_schema', true), current_setting('relinkd.' || g.of || '_table', true),
           current_setting('relinkd.' || replace(g.part, '.', '_'), true)
      from (values ('users.telegram_id', 'number', 'users'), ('users.portal_token', 'token', 'users'), ('issues.id', 'number', 'issues'),
                   ('issues.telegram_id', 'number', 'issues'), ('issues.url', 'text', 'issues')) g(part, kind, of)
), named as (
    select g.*, split_part(g.part, '.', 1) as of, format('%I.%I', g.schema_name, g.table_name) as shown,
           c.oid as table_id, c.relkind, c.relispartition, a.attnum
      from given g
      left join (pg_class c join pg_namespace n on n.oid = c.relnamespace)
             on n.nspname = g.schema_name and c.relname = g.table_name and c.relkind not in ('i', 'I', 'S', 'c', 't')
      left join pg_attribute a on a.attrelid = c.oid and a.attname = g.column_name and a.attnum > 0 and not a.attisdropped
     where g.table_name <> ''
), setting as (
    select nullif(current_setting('relinkd.bound', true), '')::jsonb as bound
), bound as (
    select b.* from setting s, jsonb_to_recordset(s.bound) b(part text, table_id oid, column_number int2)
), part as (
    -- What relinkd works on: what it is bound to; before `install`, what the configuration names.
    select n.part, n.kind, n.of, n.shown as given_table, n.column_name as given_column,
           n.table_id as given_id, n.attnum as given_attnum, b.part is not null as is_bound,
           c.oid as table_id, a.attnum, a.attname, quote_ident(s.nspname) || '.' || quote_ident(c.relname) as table_name,
           c.relkind, c.relispartition, c.relowner, pg_get_userbyid(c.relowner) as owner, c.relrowsecurity, c.relforcerowsecurity,
           format_type(a.atttypid, a.atttypmod) as type_name, y.typname as base_type,
           case when y.typname = 'varchar' and a.atttypmod > 4 then a.atttypmod - 4 end as max_length
      from named n
      left join bound b on b.part = n.part
      left join pg_class c on c.oid = coalesce(b.table_id, n.table_id)
      left join pg_namespace s on s.oid = c.relnamespace
      left join pg_attribute a on a.attrelid = c.oid and a.attnum = coalesce(b.column_number, n.attnum)
      left join pg_type t on t.oid = a.atttypid
      left join pg_type y on y.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
), bot as (
    select distinct p.of, p.table_id, p.table_name, p.relkind, p.relispartition, p.relowner, p.owner, p.relrowsecurity, p.relforcerowsecurity
      from part p where p.table_id is not null
), odd as (
    select p.*,
           case when p.kind = 'number' and p.base_type not in ('int2', 'int4', 'int8') then 'bigint'
                when p.kind = 'text' and p.base_type not in ('text', 'varchar') then 'varchar'
                when p.kind = 'token' and (p.base_type not in ('text', 'varchar') or p.max_length < l.sealed)
                then format('varchar(%s)', l.sealed) end as wanted, l.sealed
      from part p, (select current_setting('relinkd.sealed_length')::int4) l(sealed)
), home as (
    select k.rolname as keeper, k.oid, k.rolsuper or k.rolbypassrls as sees_all
      from pg_class v join pg_namespace n on n.oid = v.relnamespace join pg_roles k on k.oid = v.relowner
     where n.nspname = 'relinkd' and v.relname = 'bot_user'
), right_on as (
    select c.oid, c.relowner, a.grantee, a.privilege_type, null::name as column_name
      from pg_class c join bot b on b.table_id = c.oid cross join lateral aclexplode(c.relacl) a
    union all
    select c.oid, c.relowner, a.grantee, a.privilege_type, t.attname
      from pg_class c join bot b on b.table_id = c.oid join pg_attribute t on t.attrelid = c.oid cross join lateral aclexplode(t.attacl) a
), excess as (
    select b.table_name, r.grantee,
           string_agg(distinct lower(r.privilege_type) || coalesce(' (' || quote_ident(r.column_name) || ')', ''), ', ') || ' on ' || b.table_name
               || case when r.grantee = 0 then ', as everybody may'
                       when pg_get_userbyid(r.grantee) <> current_user then format(', as a member of %I', pg_get_userbyid(r.grantee))
                       else '' end as what
      from right_on r join bot b on b.table_id = r.oid
     where r.grantee <> r.relowner and (r.grantee = 0 or pg_has_role(r.grantee, 'usage'))
     group by b.table_name, r.grantee
), me as (
    -- Of a superuser everything is said already.
    select r.rolname, r.oid from pg_roles r where r.rolname = current_user and not r.rolsuper
), walk as (
    select bool_or(x.indisvalid) as valid
      from part u join part i on i.part = 'issues.id' and u.part = 'issues.telegram_id'
      join pg_index x on x.indrelid = i.table_id and x.indpred is null and x.indnkeyatts >= 2
                     and x.indkey[0] = u.attnum and x.indkey[1] = i.attnum
)
select f.id, f.severity, f.what, f.mend from (
    select distinct 1, 'table', 'fault', format('there is no table %s (tables.%s.name)', p.given_table, p.of), '{edit}'
      from part p where p.given_id is null and not p.is_bound
    union all
    select 2, 'kind', 'fault',
           format('%s is %s; relinkd needs an ordinary table (tables.%s.name)', b.table_name,
                  case when b.relkind = 'p' then 'partitioned: a row that moves between partitions fires no trigger'
                       when b.relispartition then 'a partition: a row that moves to another one fires no trigger'
                       when b.relkind in ('v', 'm') then 'a view' when b.relkind = 'f' then 'a foreign table' else 'no ordinary table' end, b.of),
           '{edit}'
      from bot b where b.relkind <> 'r' or b.relispartition
    union all
    select 3, 'column', 'fault', format('%s has no column %I (tables.%s)', p.given_table, p.given_column, p.part), '{edit}'
      from part p where p.given_id is not null and p.given_attnum is null and not p.is_bound
    union all
    -- Renamed: the daemon and the triggers follow; the configuration does not.
    select distinct 4, 'renamed', 'warning',
           format('%s is called %s now: relinkd follows it, but the configuration has the old name', p.given_table, p.table_name),
           format('{edit} # tables.%s.name = ''%s''; then {install}', p.of, p.table_name)
      from part p where p.is_bound and p.given_id is null
    union all
    select 5, 'renamed', 'warning',
           format('%I in %s is called %I now: relinkd follows it, but the configuration has the old name', p.given_column, p.table_name, p.attname),
           format('{edit} # tables.%s = "%s"; then {install}', p.part, p.attname)
      from part p where p.is_bound and p.given_id = p.table_id and p.given_attnum is null
    union all
    -- Another table or column under the name: rebuilt, or the configuration names another one.
    select distinct 6, 'rebuilt', 'fault',
           format('%s is not the table that relinkd is bound to, which is %s: it was rebuilt, or tables.%s.name was changed',
                  p.given_table, p.table_name, p.of), '{install}'
      from part p where p.is_bound and p.given_id <> p.table_id
    union all
    select 7, 'rebuilt', 'fault',
           format('%I in %s is not the column that relinkd is bound to, which is %I: it was rebuilt, or tables.%s was changed',
                  p.given_column, p.table_name, p.attname, p.part), '{install}'
      from part p where p.is_bound and p.given_id = p.table_id and p.given_attnum <> p.attnum
    union all
    select 8, 'unbound', 'fault', format('relinkd is bound to nothing as tables.%s: its column was dropped', p.part), '{install}'
      from part p, setting s where s.bound is not null and not p.is_bound
    union all
    -- Postgres alters no column that a view, a function or a trigger names: relinkd lets go of it, and takes it again.
    select 9, 'type', 'fault',
           case when o.max_length < o.sealed and o.base_type = 'varchar'
                then format('%I in %s holds %s characters, a sealed token needs %s', o.attname, o.table_name, o.max_length, o.sealed)
                else format('%I in %s is %s, and must be %s', o.attname, o.table_name, o.type_name, o.wanted) end,
           format(case when o.is_bound then 'begin; select relinkd.detach(); %s; select relinkd.attach(); commit; -- as %s, or a superuser'
                       else '%s; -- as %s, or a superuser' end,
                  format('alter table %s alter column %I type %s', o.table_name, o.attname, o.wanted)
                      || case when o.base_type in ('text', 'varchar') and o.wanted like 'varchar%' then ''
                              else format(' using %I::%s', o.attname, o.wanted) end,
                  quote_ident(case when o.is_bound then (select h.keeper from home h) else o.owner end))
      from odd o where o.attnum is not null and o.wanted is not null
    union all
    select 10, 'columns', 'ok', format('%s has the columns that relinkd needs', o.table_name), null
      from odd o group by o.of, o.table_name, o.relkind having bool_and(o.attnum is not null and o.wanted is null) and o.relkind = 'r'
    union all
    select 11, 'unique', 'warning', format('%I in %s is not unique: one user could stand there with two tokens', p.attname, p.table_name),
           format('create unique index concurrently on %s (%I); -- as %I, or a superuser', p.table_name, p.attname, p.owner)
      from part p
     where p.part = 'users.telegram_id' and p.attnum is not null and p.relkind = 'r'
       and not exists (select from pg_index x where x.indrelid = p.table_id and x.indisunique and x.indisvalid and x.indpred is null
                                                and x.indnkeyatts = 1 and x.indkey[0] = p.attnum)
    union all
    select 12, 'foreign trigger', 'warning',
           format('the trigger %I runs before rows of %s are written: if it changes the link or the token, only the audit sees that', t.tgname, b.table_name),
           format('alter table %s disable trigger %I; -- as %I, if the bot can do without it', b.table_name, t.tgname, b.owner)
      from bot b join pg_trigger t on t.tgrelid = b.table_id join pg_proc p on p.oid = t.tgfoid
     where not t.tgisinternal and t.tgenabled <> 'D' and p.pronamespace is distinct from to_regnamespace('relinkd')
       and t.tgtype & 1 <> 0 and t.tgtype & 2 <> 0 and t.tgtype & 20 <> 0
    union all
    -- The views read as their owner; row-level security does not hold for the table's, unless it is forced.
    select 13, 'row security', case when r.blind then 'fault' else 'warning' end,
           case when not r.blind then format('row-level security is on for %s: relinkd sees all rows as things stand', r.table_name)
                when r.owned then format('row-level security is forced on %s: relinkd does not see all rows', r.table_name)
                else format('row-level security is on for %s, and relinkd does not read as its owner: it does not see all rows', r.table_name) end,
           format('alter table %s %s row level security; -- as %I, or a superuser', r.table_name,
                  case when r.blind and r.owned then 'no force' else 'disable' end, r.owner)
      from (select b.*, not coalesce(h.sees_all, false) and (b.relforcerowsecurity or not o.owned) as blind, o.owned
              from bot b left join home h on true
             cross join lateral (select coalesce(pg_has_role(h.oid, b.relowner, 'usage'), true)) o(owned)
             where b.relrowsecurity) r
    union all
    select 14, 'index', case when w.valid then 'ok' else 'warning' end,
           case when w.valid then format('%s has an index on %I, %I', i.table_name, u.attname, i.attname)
                when not w.valid then format('the index on %I, %I of %s is invalid, its building failed: relinkd works, but slowly',
                                             u.attname, i.attname, i.table_name)
                else format('%s has no index on %I, %I: relinkd works, but slowly', i.table_name, u.attname, i.attname) end,
           case when w.valid then null else '{install}' end
      from walk w, part u, part i
     where u.part = 'issues.telegram_id' and i.part = 'issues.id' and u.attnum is not null and i.attnum is not null and i.relkind = 'r'
    union all
    select distinct 15, 'owner', 'warning',
           case when b.relowner = m.oid then format('the role %I owns the bot''s tables: relinkd needs a role that may do less', m.rolname)
                else format('the role %I is a member of %I, who owns the bot''s tables, and may do what %2$I may', m.rolname, b.owner) end,
           case when b.relowner = m.oid then '{install} --role relinkd # then name that role in database.url'
                else format('revoke %I from %I; -- as a superuser', b.owner, m.rolname) end
      from bot b, me m where pg_has_role(m.oid, b.relowner, 'member')
    union all
    select 16, 'excess', 'warning', format('the role %I may do more than it needs: %s', m.rolname, e.what),
           format('revoke all on %s from %s; -- as who granted it, or a superuser', e.table_name,
                  case e.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(e.grantee)) end)
      from excess e, me m
    union all
    select 17, 'excess', 'ok', format('the role %I has no rights on the bot''s tables themselves', m.rolname), null
      from me m
     where exists (select from bot) and not exists (select from excess)
       and not exists (select from bot b where pg_has_role(m.oid, b.relowner, 'member'))
) f(n, id, severity, what, mend) order by f.n, f.what

-- == settings
with role_or_database as (
    select case when s.setrole = 0 and s.setdatabase <> 0 then format('alter database %I', d.datname)
                else format('alter role %s%s', coalesce(quote_ident(r.rolname), 'all'), ' in database ' || quote_ident(d.datname)) end
               || ' reset relinkd.applying; -- as a superuser' as reset
      from pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole
     where (s.setdatabase = 0 or d.datname = current_database())
       and exists (select from unnest(s.setconfig) c where c ilike 'relinkd.applying=%')
), logging as (
    select current_setting('log_min_duration_statement') <> '-1' or current_setting('log_min_duration_sample') <> '-1'
        or current_setting('log_transaction_sample_rate')::float8 > 0 or current_setting('log_statement') in ('mod', 'all') as statements
), telltale as (
    -- Parameters of logged statements and of failed ones; DETAIL of an error, which quotes the row.
    select string_agg(w.name || ' = ' || current_setting(w.name), ', ' order by w.name) as shown,
           string_agg(format('alter role %I set %s = %s;', current_user, w.name, w.wanted), ' ' order by w.name) as mend,
           bool_or(w.name = 'log_parameter_max_length') as parameters, bool_or(w.name <> 'log_parameter_max_length') as failures
      from (values ('log_parameter_max_length', '0'), ('log_parameter_max_length_on_error', '0'), ('log_error_verbosity', 'terse')) w(name, wanted)
     where current_setting(w.name) <> w.wanted
), auto_explain as (
    select string_agg(s.name || ' = ' || current_setting(s.name, true), ', ' order by s.n) as shown
      from (values (1, 'auto_explain.log_min_duration', '-1'), (2, 'auto_explain.log_verbose', 'off'), (3, 'auto_explain.log_analyze', 'off'),
                   (4, 'auto_explain.log_parameter_max_length', '0')) s(n, name, silent)
     where current_setting(s.name, true) <> s.silent
    having bool_or(s.n = 1) and bool_or(s.n > 1)
), holder(what, mend, age) as (
    -- Who keeps vacuum from dead rows: snapshots, transactions in progress, prepared ones, replication slots.
    select format('session %s of role %I', a.pid, a.usename)
               || coalesce(' (' || nullif(concat_ws(', ', nullif(a.application_name, ''), a.state), '') || ')', ''),
           format('select pg_terminate_backend(%s); -- as %I or a superuser, if nobody needs it', a.pid, a.usename),
           greatest(age(a.backend_xmin), age(a.backend_xid))
      from pg_stat_activity a
     where a.pid <> pg_backend_pid() and a.usename is not null and coalesce(a.datname, current_database()) = current_database()
    union all
    select format('the prepared transaction %L of role %I', p.gid, p.owner),
           format('rollback prepared %L; -- as %I or a superuser, after asking who prepared it', p.gid, p.owner), age(p.transaction)
      from pg_prepared_xacts p where p.database = current_database()
    union all
    select format('the replication slot %I', s.slot_name),
           format('select pg_drop_replication_slot(%L); -- as a superuser, if nobody reads from it any more', s.slot_name), age(s.xmin)
      from pg_replication_slots s where s.xmin is not null
)
select f.id, f.severity, f.what, f.mend from (
    select 1, 'applying', 'fault', 'relinkd.applying is set for a role or database: the triggers keep silent there', r.reset
      from role_or_database r
    union all
    select 2, 'applying', 'fault', 'relinkd.applying is on in every session here: the triggers keep silent',
           'alter system reset relinkd.applying; select pg_reload_conf(); -- as a superuser'
     where current_setting('relinkd.applying', true) = 'on' and not exists (select from role_or_database)
    union all
    select 3, 'prepared', 'warning',
           'prepared transactions are on: a transaction of the bot''s that rings cannot be prepared (max_prepared_transactions)',
           'alter system set max_prepared_transactions = 0; -- as a superuser; takes effect when the server restarts'
     where current_setting('max_prepared_transactions')::int4 > 0
    union all
    select 4, 'log', 'warning',
           format('the server''s log %s: %s for the role %I',
                  case when t.parameters and l.statements then 'shows tokens'
                       when t.failures then 'shows tokens when a statement fails'
                       else 'would, once statements are logged, show tokens' end, t.shown, current_user),
           t.mend || ' -- as a superuser'
      from telltale t, logging l where t.shown is not null
    union all
    select 5, 'auto_explain', 'warning',
           format('auto_explain writes the plans of relinkd''s statements, in which tokens may stand, into the server''s log: %s', a.shown),
           format('alter role %I set auto_explain.log_min_duration = -1; -- as a superuser', current_user)
      from auto_explain a
    union all
    select 6, 'pgaudit', 'warning', 'pgaudit writes the parameters of relinkd''s statements, tokens among them, into the server''s log: pgaudit.log_parameter = on',
           format('alter role %I set pgaudit.log_parameter = off; -- as a superuser', current_user)
     where current_setting('pgaudit.log_parameter', true) in ('on', 'true', 'yes', '1')
       and (coalesce(current_setting('pgaudit.log', true), 'none') not in ('none', '') or current_setting('pgaudit.role', true) <> '')
    union all
    select 7, 'log', 'ok', 'the server''s log gets no tokens from relinkd''s statements', null
      from telltale t where t.shown is null and not exists (select from auto_explain)
       and coalesce(current_setting('pgaudit.log_parameter', true), 'off') not in ('on', 'true', 'yes', '1')
    union all
    (select 8, 'held', 'warning', format('%s keeps dead rows of the last %s transactions: they pile up, and relinkd gets slower', h.what, h.age), h.mend
       from holder h where h.age > 50000 order by h.age desc limit 3)
) f(n, id, severity, what, mend) order by f.n, f.what
