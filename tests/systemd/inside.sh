# shellcheck shell=bash
# What the tests do in the sandbox: commands, the bot's Postgres, waiting, and the daemon's unit.
# shellcheck disable=SC2034  # names for the tests, which are in files of their own
# shellcheck disable=SC2016  # scripts for a shell inside

SANDBOX=tests/systemd/sandbox
# Tokens of the tests. None of them may be found in the journal.
TOKEN=7812-5733-8392-7092
NEW_TOKEN=1111-2222-3333-4444

inside() { "$SANDBOX" x "$@"; }
# Writes standard input to a file inside.
put() { inside sh -c 'cat >"$1"' sh "$1"; }
as() { inside runuser -u "$1" -- "${@:2}"; }
# By standard input: arguments are in the journal.
sql() { as postgres psql -XqAt -v ON_ERROR_STOP=1 -d "${DATABASE:-okdesk_bot}" <<<"$1"; }

# soon SECONDS COMMAND...: until the command succeeds, or that time (on an idle machine) is up. What it prints is shown at the end.
soon() {
    # On a busy machine all takes longer; what comes soon is not waited for any longer.
    local until=$((SECONDS + 3 * $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        if [[ $SECONDS -ge $until ]]; then
            echo "not within the time: $*"
            "$@"
            return
        fi
        sleep 0.1
    done
}

equal() {
    if [[ $1 != "$2" ]]; then
        printf 'not equal:\n  %s\n  %s\n' "$1" "$2"
        return 1
    fi
}

# equal_now COMMAND TEXT: as equal, of what the command prints; for soon.
equal_now() { equal "$("$1")" "$2"; }

fails() {
    if "$@"; then
        echo "this should have failed: $*"
        return 1
    fi
}

# One property of a unit, relinkd's by default.
property() { inside systemctl show -P "$1" "${2:-relinkd.service}"; }
has_property() { [[ $(property "$1" "${3:-relinkd.service}") = "$2" ]]; }
main_pid() { property MainPID "${1:-relinkd.service}"; }
log_has() { inside journalctl -u "${UNIT:-relinkd.service}" -o cat --no-pager | grep -qF -- "$1"; }

link_of() { sql "select okdesk_url from issues where id = $1"; }
link_is() { equal "$(link_of "$1")" "$2"; }
login() { echo "https://yapomogu55.okdesk.ru/login?token=$1&redirect=/issues/$2"; }

# drop USER NAME: standard input becomes a file in incoming/, as an operator delivers it.
drop() {
    local incoming=${SPOOL:-/var/spool/relinkd}/incoming
    # shellcheck disable=SC2016  # the inner shell's
    as "$1" sh -c 'umask 0027; cat >"$1/.$2.tmp" && mv "$1/.$2.tmp" "$1/$2"' sh "$incoming" "$2"
}

assignment() { printf 'telegram_id = %d\ntoken = "%s"\n' "$1" "$2"; }

# use_drop_in NAME [UNIT]: standard input becomes a drop-in of the unit, which is not restarted.
use_drop_in() {
    local unit=${2:-relinkd.service}
    inside mkdir -p "/etc/systemd/system/$unit.d"
    put "/etc/systemd/system/$unit.d/$1"
    inside systemctl daemon-reload
}

forget_drop_in() {
    inside rm "/etc/systemd/system/${2:-relinkd.service}.d/$1"
    inside systemctl daemon-reload
}

# Boots the sandbox with Postgres and the package in it, the latter not yet installed.
boot() {
    mkdir "$SANDBOX_DIR"
    cp "$1" "$SANDBOX_DIR/relinkd.deb"
    "$SANDBOX" up
    mv "$SANDBOX_DIR/relinkd.deb" "$SANDBOX_DIR/share/"
    # Of a host that has relinkd itself, nothing shall be seen.
    inside sh -c 'dpkg -P relinkd; rm -rf /etc/relinkd /var/spool/relinkd' >/dev/null 2>&1
    start_postgres
    make_database okdesk_bot
}

# A cluster of its own, reached as Debian's is: socket in /run/postgresql with peer authentication, TCP with a password.
start_postgres() {
    local binaries
    binaries=$(postgres_binaries)
    inside install -d -o postgres -g postgres /var/lib/bot
    as postgres "$binaries/initdb" -D /var/lib/bot/data -N -A peer --auth-host=scram-sha-256 >/dev/null
    put /var/lib/bot/data/pg_hba.conf <<'RULES'
local all okdesk_user trust
local all all peer
host all all 0.0.0.0/0 scram-sha-256
RULES
    put /etc/systemd/system/bot-postgres.service <<UNIT
[Unit]
Description=The bot's Postgres
[Service]
Type=notify
User=postgres
RuntimeDirectory=postgresql
ExecStart=$binaries/postgres -D /var/lib/bot/data -c unix_socket_directories=/run/postgresql -c fsync=off -c listen_addresses=*
KillSignal=SIGINT
[Install]
WantedBy=multi-user.target
UNIT
    inside systemctl daemon-reload
    inside systemctl -q enable --now bot-postgres
    DATABASE=postgres sql 'create role okdesk_user login'
}

# make_database NAME: one of a bot, with two users and an issue of each.
make_database() {
    DATABASE=postgres sql "create database $1 owner okdesk_user"
    as postgres psql -Xq -U okdesk_user -d "$1" -f - <tests/bot/tables.sql
    DATABASE=$1 sql "
        insert into users (telegram_id, user_type) values (1, 'client'), (2, 'client');
        insert into issues (telegram_user_id, okdesk_issue_id, status, okdesk_url)
            select n, n, 'open', 'https://yapomogu55.okdesk.ru/issues/' || n from generate_series(1, 2) n"
}
