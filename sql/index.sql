-- The index by which a user's issues are walked in order of id; nothing where the table has such a one already.
-- Built concurrently: the bot goes on writing meanwhile. What a failed attempt left behind is dropped first, and so is
-- the one of a table that was the bot's before. Each row is a statement to run, outside a transaction.

with issues as (
    select i.table_id, i.owner, i.schema_name, i.table_name, i.column_number as id_number, i.column_name as id,
           u.column_number as user_number, u.column_name as user
      from relinkd.bound i, relinkd.bound u
     where i.part = 'issues.id' and u.part = 'issues.telegram_id'
)
select format('drop index concurrently %I.%I', n.nspname, c.relname)
  from issues
  join pg_class t on t.relowner = issues.owner
  join pg_index x on x.indrelid = t.oid
  join pg_class c on c.oid = x.indexrelid and c.relname = 'relinkd_issue_walk'
  join pg_namespace n on n.oid = c.relnamespace
 where not x.indisvalid or x.indrelid <> issues.table_id
union all
select format('create index concurrently relinkd_issue_walk on %I.%I (%I, %I)', schema_name, table_name, issues.user, id)
  from issues
 where not exists (
       select from pg_index x
        where x.indrelid = issues.table_id and x.indisvalid and x.indpred is null and x.indnkeyatts >= 2
          and x.indkey[0] = user_number and x.indkey[1] = id_number)
\gexec
