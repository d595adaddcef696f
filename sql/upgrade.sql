-- From schema version 1 (relinkd 0.1.0) to 2. Does nothing elsewhere. The table of changes, which the bot's writes append
-- to, comes last: in sql/attach.sql, right before the triggers.

do $upgrade$
begin
    if to_regclass('relinkd.token_mark') is null then
        return;
    end if;
    drop view relinkd.sound_trigger, relinkd.wanted_trigger, relinkd.own_trigger;
    drop function relinkd.attach(regclass), relinkd.detach(regclass), relinkd.table_of(text), relinkd.queue_everyone(),
                  relinkd.alive(relinkd.daemon);
    alter table relinkd.meta
        add column users_schema text, add column issues_schema text, add column daemon_role text,
        alter column users_table drop not null, alter column users_telegram_id drop not null,
        alter column users_portal_token drop not null, alter column issues_table drop not null,
        alter column issues_id drop not null, alter column issues_telegram_id drop not null,
        alter column issues_url drop not null;
    update relinkd.meta set schema_version = 2;
    alter table relinkd.daemon
        add column links_written bigint not null default 0, add column next_audit_at timestamptz,
        add column other_portal boolean not null default false, add column running_since timestamptz,
        add column last_write_at timestamptz, add column reconnects bigint not null default 0,
        add column seals_with text;
    alter table relinkd.token_mark rename to fingerprint;
    alter table relinkd.fingerprint rename column mark to fingerprint;
    alter table relinkd.fingerprint add column until timestamptz, drop constraint token_mark_pkey,
        add primary key (telegram_id, key_id, fingerprint);
    alter index relinkd.token_mark_mark rename to fingerprint_fingerprint;
end $upgrade$;
