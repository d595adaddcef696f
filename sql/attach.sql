-- The triggers on the bot's two tables: a short lock against writers, and none where they are in order already.
select relinkd.attach(relinkd.table_of(users_table)), relinkd.attach(relinkd.table_of(issues_table)) from relinkd.meta;

-- Tables that were the bot's before, under an earlier configuration.
select relinkd.detach(t.on_table)
  from (select distinct o.on_table from relinkd.own_trigger o) t, relinkd.meta m
 where t.on_table not in (relinkd.table_of(m.users_table), relinkd.table_of(m.issues_table));
