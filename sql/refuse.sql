-- Before anything else in an admin's session: refuses a schema relinkd in which something belongs to somebody else, or
-- where somebody else may make something, for that would run with the admin's rights.
--
-- What follows reads no row of the bot's tables and calls nothing that others made (to plan a query over a table is to
-- run its owner's code: the predicates of indexes are evaluated), so that whoever runs it, a superuser too, runs no code
-- of others. The search path is Postgres' own.

set local search_path = pg_catalog, pg_temp;
set local role none;   -- what runs here can undo any `set role`: the rights that count are those of the login

do $refuse$
declare
    trigger_functions constant name[] := '{issue_inserted,issue_updated,user_inserted,user_updated,user_deleted,users_truncated}';
    stranger text;
    found integer;
begin
    if to_regnamespace('relinkd') is null then
        return;
    end if;

    -- Trusted are the role that runs this and, for a superuser, any other superuser. Of trigger functions anybody may be
    -- the owner: they are handed to the owners of the bot's tables, nothing of ours calls them, and install replaces them.
    with trusted as (
        select r.oid from pg_roles r
         where r.rolname = current_user
            or r.rolsuper and (select c.rolsuper from pg_roles c where c.rolname = current_user)
    ), object(class, id, owner) as (
        select 'pg_namespace'::regclass, n.oid, n.nspowner from pg_namespace n where n.nspname = 'relinkd'
         union all
        select o.classid::regclass, o.objid, o.refobjid
          from pg_depend d join pg_shdepend o on o.classid = d.classid and o.objid = d.objid
         where d.refclassid = 'pg_namespace'::regclass and d.refobjid = 'relinkd'::regnamespace
           and o.deptype = 'o' and o.refclassid = 'pg_authid'::regclass
           and o.dbid = (select b.oid from pg_database b where b.datname = current_database())
           and not (o.classid = 'pg_proc'::regclass
                    and exists (select from pg_proc p where p.oid = o.objid and p.proname = any (trigger_functions)
                                   and p.prorettype = 'trigger'::regtype))
    )
    select format('%s belongs to role %I', pg_describe_object(o.class, o.id, 0), pg_get_userbyid(o.owner)) into stranger
      from object o where o.owner not in (select t.oid from trusted t)
     order by o.class <> 'pg_namespace'::regclass, 1 limit 1;

    -- Who may create objects or triggers here could do so at the very moment when an admin's session writes here.
    if stranger is null then
        select format('role %s has the right %s on %s', coalesce(quote_ident(r.rolname), 'public'), g.privilege_type, g.object)
          into stranger
          from (select 'schema relinkd' as object, n.nspowner as owner, a.*
                  from pg_namespace n cross join lateral aclexplode(n.nspacl) a where n.nspname = 'relinkd'
                 union all
                select format('relinkd.%I', c.relname), c.relowner, a.*
                  from pg_class c cross join lateral aclexplode(c.relacl) a where c.relnamespace = 'relinkd'::regnamespace) g
          left join pg_roles r on r.oid = g.grantee
         where g.privilege_type in ('CREATE', 'TRIGGER', 'REFERENCES') and g.grantee <> g.owner
         limit 1;
    end if;
    if stranger is null then
        select format('relinkd.%I has the trigger %I, which is not of relinkd', c.relname, t.tgname) into stranger
          from pg_trigger t join pg_class c on c.oid = t.tgrelid
         where c.relnamespace = 'relinkd'::regnamespace
         limit 1;
    end if;
    if stranger is not null then
        raise exception using errcode = 'RLK01', message = format('%s: refused', stranger),
            hint = 'Run this as the role that owns schema relinkd, or take that away (a schema relinkd that is not relinkd''s: drop it) first.';
    end if;

    if to_regclass('relinkd.meta') is not null then
        select m.schema_version into found from relinkd.meta m;
        if found > 2 then
            raise exception using errcode = 'object_not_in_prerequisite_state',
                message = format('schema relinkd has version %s, and this relinkd knows version 2', found);
        end if;
    end if;
end $refuse$;
