# shellcheck shell=bash
# The daemon at its work, as its operators meet it.

applied() { inside test -e "${SPOOL:-/var/spool/relinkd}/applied/$1.json"; }
rejected() { inside test -e "/var/spool/relinkd/rejected/$1.reason"; }
says_status() { [[ $(property StatusText) = *"$1"* ]]; }

test_an_operators_file_is_applied() {
    inside useradd -G relinkd-ops alice
    inside useradd stranger
    assignment 2 "$NEW_TOKEN" | drop alice one.toml
    soon 10 applied one.toml
    soon 10 link_is 2 "$(login "$NEW_TOKEN" 2)"
    as alice grep -q '"owner": "alice"' /var/spool/relinkd/applied/one.toml.json
}

# journal_has NUMBER FIELD=VALUE...: so many entries have all of these.
journal_has() { equal "$(inside journalctl -q --no-pager -o cat "${@:2}" | wc -l)" "$1"; }

test_what_becomes_of_tokens_is_in_the_journal_with_fields() {
    soon 10 journal_has 1 RELINKD_TELEGRAM_ID=2 RELINKD_ACTION=set RELINKD_VIA=spool RELINKD_BY=alice
    equal "$(inside journalctl -q --no-pager -o cat MESSAGE_ID=f1b5a7c0d4e94c1f8a3b62e07d915c48 RELINKD_TELEGRAM_ID=2 RELINKD_VIA=spool)" \
        "the token of user 2 was set by alice (spool, one.toml)"
    # It is the unit's, at its level, and does not stand there a second time, from standard error.
    journal_has 1 _SYSTEMD_UNIT=relinkd.service PRIORITY=6 RELINKD_TELEGRAM_ID=2 RELINKD_FILE=one.toml
    fails log_has "the token of user 2 was set by alice (spool, one.toml) telegram_id=2"
    # A command's, and what the bot does.
    inside relinkd token remove 2
    soon 10 journal_has 1 RELINKD_TELEGRAM_ID=2 RELINKD_ACTION=removed RELINKD_VIA=cli RELINKD_BY=root
    sql "update users set portal_token = '$NEW_TOKEN' where telegram_id = 2"
    soon 10 journal_has 1 RELINKD_TELEGRAM_ID=2 RELINKD_ACTION=sealed RELINKD_VIA=bot
    soon 10 link_is 2 "$(login "$NEW_TOKEN" 2)"
}

test_metrics_are_where_another_user_reads_them_and_go_with_the_daemon() {
    inside sed -i 's,^# file = "/run/,file = "/run/,' /etc/relinkd/config.toml
    inside systemctl reload relinkd
    soon 20 as stranger grep -q '^relinkd_up 1$' /run/relinkd/relinkd.prom
    soon 20 as stranger grep -q '^relinkd_database_connected 1$' /run/relinkd/relinkd.prom
    equal "$(inside stat -c '%U:%G %a' /run/relinkd/relinkd.prom)" "relinkd:relinkd 644"
    inside relinkd health
    inside systemctl stop relinkd
    fails inside test -e /run/relinkd/relinkd.prom
    fails inside relinkd health
    inside systemctl start relinkd
    soon 20 inside test -e /run/relinkd/relinkd.prom
}

test_a_rejected_file_is_for_operators_only() {
    assignment 404 "$NEW_TOKEN" | drop alice two.toml
    soon 10 rejected two.toml
    as alice cat /var/spool/relinkd/rejected/two.toml.reason
    as alice cat /var/spool/relinkd/rejected/two.toml >/dev/null
    fails as stranger ls /var/spool/relinkd/rejected
    fails as stranger ls /var/spool/relinkd/incoming
    fails as stranger relinkd spool
}

test_operators_clear_away_what_was_rejected_whoever_dropped_it() {
    inside useradd -G relinkd-ops bob
    assignment 404 5555-6666-7777-8888 | drop alice early.toml
    soon 10 rejected early.toml
    as bob relinkd spool | grep 'rejected *early.toml *1:15: no user has this'
    as bob relinkd spool show early.toml | grep 'owner *alice'
    fails as bob cat /etc/relinkd/config.toml
    sql "insert into users (telegram_id, user_type) values (404, 'client')"
    as bob relinkd spool retry early.toml
    soon 10 applied early.toml
    sql "delete from users where telegram_id = 404"
    # With plain tools, too.
    printf 'x' | drop alice plain.toml
    soon 10 rejected plain.toml
    as bob mv /var/spool/relinkd/rejected/plain.toml /var/spool/relinkd/incoming/
    soon 10 rejected plain.toml.1 || soon 10 rejected plain.toml
    as bob sh -c 'rm /var/spool/relinkd/rejected/plain.toml*'
    printf 'x' | drop alice away.toml
    soon 10 rejected away.toml
    as bob relinkd spool discard away.toml
    fails rejected away.toml
}

test_a_file_name_acts_on_neither_systemd_nor_the_journal() {
    local before name=$'x\nWATCHDOG=trigger\nMAINPID=1\n\e[2J\xe2\x80\xae\xff.toml'
    before=$(main_pid)
    printf x | drop alice "$name"
    soon 10 log_has 'x\nWATCHDOG=trigger\nMAINPID=1\n\x1b[2J\u{202e}\xff.toml'
    soon 10 rejected "$name"
    fails inside sh -c 'journalctl -u relinkd --no-pager | grep "blob data"'
    equal "$(main_pid)" "$before"
}

test_a_file_that_the_daemon_may_not_read_is_reported() {
    as alice sh -c 'umask 077; echo >/var/spool/relinkd/incoming/closed.toml'
    soon 10 log_has closed.toml
    as alice rm /var/spool/relinkd/incoming/closed.toml
}

test_incoming_is_made_anew_when_it_is_gone() {
    inside rm -r /var/spool/relinkd/incoming
    inside systemctl reload relinkd
    soon 40 inside test -d /var/spool/relinkd/incoming
    equal "$(inside stat -c '%U:%G %a' /var/spool/relinkd/incoming)" "relinkd:relinkd-ops 3770"
    assignment 2 "$NEW_TOKEN" | drop alice three.toml
    soon 10 applied three.toml
}

test_a_spool_that_is_replaced_is_written_without_a_restart() {
    local before
    before=$(main_pid)
    inside mv /var/spool/relinkd /var/spool/relinkd.old
    inside systemd-tmpfiles --create relinkd.conf
    inside systemctl reload relinkd
    assignment 2 "$NEW_TOKEN" | drop alice four.toml
    soon 40 applied four.toml
    equal "$(main_pid)" "$before"
    inside rm -r /var/spool/relinkd.old
}

test_rejected_files_age_out() {
    local aged=/tmp/relinkd.conf
    printf 'x' | drop alice five.toml
    soon 10 rejected five.toml
    sleep 1.1
    inside sh -c "sed 's/cm:30d/cm:1s/' /usr/lib/tmpfiles.d/relinkd.conf >$aged"
    inside systemd-tmpfiles --clean relinkd.conf
    rejected five.toml
    inside systemd-tmpfiles --clean "$aged"
    fails rejected five.toml
    applied four.toml
}

test_a_reload_takes_the_new_configuration() {
    local before
    before=$(main_pid)
    inside sed -i 's,^aliases = .*,aliases = ["https://old.example.org"],' /etc/relinkd/config.toml
    inside systemctl reload relinkd
    sql "update issues set okdesk_url = 'https://old.example.org/issues/1' where id = 1"
    soon 10 link_is 1 "$(login "$TOKEN" 1)"
    equal "$(main_pid)" "$before"
}

test_a_reload_of_a_bad_configuration_fails_and_changes_nothing() {
    local before
    before=$(main_pid)
    inside cp -p /etc/relinkd/config.toml /etc/relinkd/config.good
    inside sed -i 's,^tokenless = .*,tokenless = "perhaps",' /etc/relinkd/config.toml
    fails inside systemctl reload relinkd
    equal "$(property ActiveState)" active
    equal "$(main_pid)" "$before"
    sql "update issues set okdesk_url = 'https://old.example.org/issues/1' where id = 1"
    soon 10 link_is 1 "$(login "$TOKEN" 1)"
    inside mv /etc/relinkd/config.good /etc/relinkd/config.toml
    inside systemctl reload relinkd
}

test_the_journal_has_priorities() {
    local priorities
    sql "update users set portal_token = 'not a token' where telegram_id = 2"
    soon 10 inside sh -c 'journalctl -u relinkd -o cat -p warning..warning | grep -q telegram_id=2'
    priorities=$(inside journalctl _SYSTEMD_UNIT=relinkd.service _COMM=relinkd -o json | sed -n 's/.*"PRIORITY":"\(.\)".*/\1/p' | sort -u)
    [[ $priorities = *4*6* ]] || equal "$priorities" "4 and 6 among others"
    fails inside sh -c 'journalctl -u relinkd -o cat | grep -q "^<[0-9]>"'
    assignment 2 "$NEW_TOKEN" | drop alice six.toml
    soon 10 link_is 2 "$(login "$NEW_TOKEN" 2)"
}

test_the_journal_has_no_token() {
    fails inside sh -c 'journalctl -o export | grep -aE "'"$TOKEN|$NEW_TOKEN"'"'
}
