-- Keeps tokens out of the server's log, where the admin may set it (a superuser's settings): bind parameters of slow
-- statements are not printed, nor the DETAIL of an error, which quotes the row. The role's name is the setting relinkd.role.

do $quiet$
begin
    execute format('alter role %I set log_parameter_max_length = 0', current_setting('relinkd.role'));
    execute format('alter role %I set log_parameter_max_length_on_error = 0', current_setting('relinkd.role'));
    execute format('alter role %I set log_error_verbosity = terse', current_setting('relinkd.role'));
end $quiet$;
