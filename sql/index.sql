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
