-- The way back: triggers first, so that the bot is free of relinkd before anything else happens, then the index, then
-- the schema with everything in it, the grants included. Sealed tokens, links and the role stay.
select relinkd.detach(t.on_table) from (select distinct o.on_table from relinkd.own_trigger o) t;

do $index$
declare
    index_name text;
begin
    for index_name in
        select format('%I.%I', n.nspname, c.relname)
          from relinkd.meta m
          join pg_catalog.pg_index x on x.indrelid = to_regclass(m.issues_table)
          join pg_catalog.pg_class c on c.oid = x.indexrelid and c.relname = 'relinkd_issue_walk'
          join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    loop
        execute 'drop index ' || index_name;
    end loop;
end $index$;

do $connect$
declare
    grantee name;
begin
    for grantee in select m.granted_connect_to from relinkd.meta m where m.granted_connect_to is not null loop
        execute format('revoke connect on database %I from %I', current_database(), grantee);
    end loop;
end $connect$;

drop schema relinkd cascade;
