-- What the daemon's role needs, and no more: it owns nothing, and of the bot's tables it sees only the four columns in
-- the two views and writes only the token and the link. The role's name arrives as the setting relinkd.role.

do $grants$
declare
    role name := current_setting('relinkd.role');
begin
    if not has_database_privilege(role, current_database(), 'connect') then
        execute format('grant connect on database %I to %I', current_database(), role);
        update relinkd.meta set granted_connect_to = role;
    end if;
    execute format('grant usage on schema relinkd to %I', role);
    execute format('grant select, update (portal_token) on relinkd.bot_user to %I', role);
    execute format('grant select, update (url) on relinkd.bot_issue to %I', role);
    execute format('grant select, insert, update, delete on relinkd.change, relinkd.walk, relinkd.token_mark,
                    relinkd.unusable, relinkd.ledger, relinkd.daemon to %I', role);
    execute format('grant select, update (portal_fingerprint, audit_finished_at, audit_found) on relinkd.meta to %I', role);
    execute format('grant select on relinkd.own_trigger, relinkd.wanted_trigger, relinkd.sound_trigger to %I', role);
    execute format('grant execute on function relinkd.user_key(bigint), relinkd.ring(), relinkd.alive(relinkd.daemon),
                    relinkd.queue_everyone(), relinkd.table_of(text) to %I', role);
end $grants$;
