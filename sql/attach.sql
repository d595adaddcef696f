-- The triggers on the bot's two tables, each statement a transaction of its own: a short lock against writers, and none
-- where the triggers are in order already.
select relinkd.attach(to_regclass(users_table)) from relinkd.meta;

select relinkd.attach(to_regclass(issues_table)) from relinkd.meta;

-- Tables that were the bot's before, under an earlier configuration.
select relinkd.detach(t.on_table)
  from (select distinct o.on_table from relinkd.own_trigger o) t, relinkd.meta m
 where t.on_table not in (to_regclass(m.users_table), to_regclass(m.issues_table));
