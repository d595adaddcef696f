-- The first half of the way back: triggers and grants go, so that the bot is free of relinkd before anything else happens.
-- The role's name is the setting relinkd.role.
select relinkd.detach(t.on_table) from (select distinct o.on_table from relinkd.own_trigger o) t;

do $revoke$
declare
    grantee text;
begin
    for grantee in
        select distinct a.grantee::regrole::text
          from pg_catalog.pg_namespace n, lateral aclexplode(n.nspacl) a
         where n.nspname = 'relinkd' and a.grantee <> n.nspowner and a.grantee <> 0
    loop
        execute format('revoke all on schema relinkd from %s', grantee);
    end loop;
    for grantee in select m.granted_connect_to::text from relinkd.meta m where m.granted_connect_to is not null loop
        execute format('revoke connect on database %I from %I', current_database(), grantee);
    end loop;
end $revoke$;

-- Only a superuser could set these, and only a superuser can take them back.
do $loud$
begin
    execute format('alter role %I reset log_parameter_max_length', current_setting('relinkd.role'));
    execute format('alter role %I reset log_parameter_max_length_on_error', current_setting('relinkd.role'));
    execute format('alter role %I reset log_error_verbosity', current_setting('relinkd.role'));
exception when insufficient_privilege or undefined_object then
    null;
end $loud$;
