-- The index by which a user's issues are walked in order of id; nothing where the table has such a one already.
-- Built concurrently: the bot goes on writing meanwhile. What a failed attempt left behind is dropped first.
-- Each row is a statement to run, outside a transaction.

select format('drop index concurrently if exists %I.%I', n.nspname, c.relname)
  from relinkd.meta m
  join pg_catalog.pg_index x on x.indrelid = to_regclass(m.issues_table) and not x.indisvalid
  join pg_catalog.pg_class c on c.oid = x.indexrelid and c.relname = 'relinkd_issue_walk'
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union all
select format('create index concurrently relinkd_issue_walk on %s (%I, %I)',
              m.issues_table, m.issues_telegram_id, m.issues_id)
  from relinkd.meta m
 where not exists (
       select from pg_catalog.pg_index x
        where x.indrelid = to_regclass(m.issues_table) and x.indisvalid and x.indpred is null and x.indnkeyatts >= 2
          and (select a.attname from pg_catalog.pg_attribute a
                where a.attrelid = x.indrelid and a.attnum = x.indkey[0]) = m.issues_telegram_id
          and (select a.attname from pg_catalog.pg_attribute a
                where a.attrelid = x.indrelid and a.attnum = x.indkey[1]) = m.issues_id)
\gexec
