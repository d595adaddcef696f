-- Keeps tokens out of the server's log: bind parameters of slow statements are not printed, nor the DETAIL of an error,
-- which quotes the row. auto_explain prints parameters of its own accord from Postgres 16 on. These are a superuser's
-- settings; another admin is told what to ask for. The role's name is the setting relinkd.role.
do $quiet$
declare
    setting text;
begin
    foreach setting in array array['log_parameter_max_length = 0', 'log_parameter_max_length_on_error = 0',
                                   'log_error_verbosity = terse']
        || case when current_setting('server_version_num')::int4 >= 160000
                then array['auto_explain.log_parameter_max_length = 0'] end
    loop
        execute format('alter role %I set %s', current_setting('relinkd.role'), setting);
    end loop;
exception when insufficient_privilege then
    raise warning 'the server''s log may show tokens of slow statements: see `relinkd check` for what a superuser can do';
end $quiet$;
