-- The second half of the way back, after sql/disarm.sql and the index: the schema with everything in it, and what the
-- daemon's role was given elsewhere. Sealed tokens, links and the role stay. The role's name is the setting relinkd.role.

do $connect$
declare
    grantee text;
begin
    for grantee in
        select m.granted_connect_to from relinkd.meta m join pg_roles r on r.rolname = m.granted_connect_to
    loop
        execute format('revoke connect on database %I from %I', current_database(), grantee);
    end loop;
end $connect$;

-- Only a superuser could set these, and only a superuser can take them back.
do $loud$
begin
    execute format('alter role %I reset log_parameter_max_length', current_setting('relinkd.role'));
    execute format('alter role %I reset log_parameter_max_length_on_error', current_setting('relinkd.role'));
    execute format('alter role %I reset log_error_verbosity', current_setting('relinkd.role'));
    if current_setting('server_version_num')::int4 >= 160000 then
        execute format('alter role %I reset auto_explain.log_parameter_max_length', current_setting('relinkd.role'));
    end if;
exception when insufficient_privilege or undefined_object then
    null;
end $loud$;

drop schema relinkd cascade;
