# shellcheck shell=bash
# What goes wrong on a machine: kills, hangs, a database that is away, faults that only a person mends.

restarts() { property NRestarts; }
restarted_since() { [[ $(restarts) -gt $1 ]] && [[ $(property ActiveState) = active ]]; }
# Issues of user 1 whose link has no token yet.
unlinked() { sql "select count(*) from issues where telegram_user_id = 1 and okdesk_url not like '%login%'"; }
links_are_being_written() { [[ $(sql "select count(*) from issues where okdesk_url like '%$1%'") -gt 10 ]]; }

test_a_killed_daemon_comes_back_and_nothing_is_lost() {
    local before
    before=$(restarts)
    inside systemctl kill -s KILL relinkd
    sql "insert into issues (telegram_user_id, okdesk_issue_id, status, okdesk_url)
        values (1, 3, 'open', 'https://yapomogu55.okdesk.ru/issues/3')"
    assignment 2 "$NEW_TOKEN" | drop alice seven.toml
    soon 20 restarted_since "$before"
    soon 10 applied seven.toml
    soon 10 link_is 3 "$(login "$TOKEN" 3)"
}

test_a_hung_daemon_is_ended_by_the_watchdog() {
    local before
    use_drop_in watchdog.conf <<<$'[Service]\nWatchdogSec=2s'
    inside systemctl restart relinkd
    before=$(restarts)
    inside systemctl kill -s STOP relinkd
    soon 30 log_has "Watchdog timeout"
    soon 30 restarted_since "$before"
    # SIGABRT, and for once without "code=dumped".
    log_has "code=killed, status=6/ABRT"
    fails log_has "code=dumped"
}

test_a_stopped_postgres_does_not_trip_the_watchdog() {
    local before
    before=$(main_pid)
    inside systemctl stop bot-postgres
    soon 10 says_status retrying
    sleep 8
    equal "$(main_pid)" "$before"
    equal "$(property ActiveState)" active
    inside systemctl start bot-postgres
    sql "update issues set okdesk_url = 'https://yapomogu55.okdesk.ru/issues/1' where id = 1"
    soon 20 link_is 1 "$(login "$TOKEN" 1)"
    equal "$(main_pid)" "$before"
    forget_drop_in watchdog.conf
    inside systemctl restart relinkd
}

test_a_stop_during_a_bulk_relink_takes_less_than_5_s() {
    local asked
    inside systemctl stop relinkd
    sql "insert into issues (telegram_user_id, okdesk_issue_id, status, okdesk_url)
        select 1, n, 'open', 'https://yapomogu55.okdesk.ru/issues/' || n from generate_series(1000, 400999) n"
    inside systemctl start relinkd
    soon 20 links_are_being_written "redirect=/issues/1"
    asked=$(date +%s%N)
    inside systemctl stop relinkd
    asked=$((($(date +%s%N) - asked) / 1000000))
    echo "stopped in $asked ms, with $(unlinked) links left to do"
    [[ $asked -lt 5000 ]]
    [[ $(unlinked) -gt 0 ]]
    equal "$(property Result)" success
    inside systemctl start relinkd
    soon 120 equal_now unlinked 0
    sql "delete from issues where okdesk_issue_id >= 1000"
}

test_a_late_postgres_does_not_fail_the_boot() {
    inside systemctl -q disable bot-postgres
    "$SANDBOX" down
    "$SANDBOX" up
    equal "$(property ActiveState bot-postgres)" inactive
    equal "$(property ActiveState)" active
    equal "$(restarts)" 0
    says_status retrying
    inside systemctl -q enable --now bot-postgres
    sql "update issues set okdesk_url = 'https://yapomogu55.okdesk.ru/issues/1' where id = 1"
    soon 20 link_is 1 "$(login "$TOKEN" 1)"
}

# stays_down STATUS: the daemon ended with this, and is not started again.
stays_down() {
    fails inside systemctl restart relinkd
    equal "$(property ExecMainStatus)" "$1"
    sleep 4
    equal "$(property ActiveState)" failed
    equal "$(restarts)" 0
}

test_a_faulty_configuration_is_not_tried_again() {
    inside cp -p /etc/relinkd/config.toml /root/config.good
    inside sh -c 'echo "nonsense = 1" >>/etc/relinkd/config.toml'
    stays_down 4
    inside cp -p /root/config.good /etc/relinkd/config.toml
}

test_a_keyring_open_to_others_is_not_tried_again() {
    inside chmod 0644 /etc/relinkd/keyring.toml
    stays_down 6
    inside chmod 0640 /etc/relinkd/keyring.toml
    inside systemctl restart relinkd
}

test_a_second_daemon_on_the_spool_does_not_start() {
    inside cp -p /etc/relinkd/config.toml /etc/relinkd/twin.toml
    inside systemctl start --no-block relinkd@twin
    UNIT=relinkd@twin soon 10 log_has "another relinkd owns the spool"
    inside systemctl stop relinkd@twin
    inside rm /etc/relinkd/twin.toml
    equal "$(property ActiveState)" active
}
