-- The second half of the way back, after sql/disarm.sql: the index, then the schema with everything in it. Sealed tokens,
-- links and the role stay.
do $index$
declare
    index_name text;
begin
    for index_name in
        select format('%I.%I', n.nspname, c.relname)
          from pg_catalog.pg_class c
          join pg_catalog.pg_index x on x.indexrelid = c.oid
          join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relname = 'relinkd_issue_walk'
    loop
        execute 'drop index ' || index_name;
    end loop;
end $index$;

drop schema relinkd cascade;
