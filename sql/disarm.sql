-- The first half of the way back: the triggers go, so that the bot is free of relinkd before anything else happens. A
-- daemon that still runs sees a [portal] that is not its own, and writes no link any more.

do $disarm$
declare
    t record;
begin
    for t in
        select distinct g.tgrelid as table_id from pg_trigger g join pg_proc p on p.oid = g.tgfoid
         where p.pronamespace = 'relinkd'::regnamespace and not g.tgisinternal
         order by 1
    loop
        execute format('lock table only %s in access exclusive mode', t.table_id::regclass);
    end loop;
    for t in
        select g.tgname as name, g.tgrelid as table_id from pg_trigger g join pg_proc p on p.oid = g.tgfoid
         where p.pronamespace = 'relinkd'::regnamespace and not g.tgisinternal
    loop
        execute format('drop trigger %I on %s', t.name, t.table_id::regclass);
    end loop;
    update relinkd.meta set portal_fingerprint = 'uninstalling';
end $disarm$;
