-- Creates schema relinkd where there is none. Before sql/refuse.sql, so that nobody can slip in between: one that is there
-- by then belongs to this transaction, or is looked at.

set local search_path = pg_catalog, pg_temp;

do $create$
declare
    grantee text;
begin
    if to_regnamespace('relinkd') is null then
        create schema relinkd;
        -- Default privileges of the admin's may give others more than to look.
        for grantee in
            select distinct coalesce(quote_ident(r.rolname), 'public')
              from pg_namespace n cross join lateral aclexplode(n.nspacl) a left join pg_roles r on r.oid = a.grantee
             where n.nspname = 'relinkd' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
        loop
            execute format('revoke create on schema relinkd from %s', grantee);
        end loop;
    end if;
end $create$;
