# shellcheck shell=bash
# The operator's day, on two machines of its own: from the package to working links, tokens, bad files, a rotation, a
# dead database, a lost keyring, a restore elsewhere, and a purge. What is typed stands in README.md or docs/, or the
# test fails; what is answered is kept in tests/systemd/day.

OKDESK_PASSWORD='the password of the bot'
INCOMING=/var/spool/relinkd/incoming

first_machine() { export SANDBOX_DIR=$MACHINES/monday; }
second_machine() { export SANDBOX_DIR=$MACHINES/tuesday; }

# Boots a machine that has the bot's Postgres as README.md supposes it, on port 5433, and the package in root's home.
boot_machine() {
    mkdir -p "$SANDBOX_DIR"
    "$SANDBOX" up
    inside sh -c 'dpkg -P relinkd; rm -rf /etc/relinkd /var/spool/relinkd; userdel relinkd; groupdel relinkd-ops' >/dev/null 2>&1 || true
    cp "$package" "$SANDBOX_DIR/share/"
    inside sh -c "cp /share/*.deb /root/"
    install_editor
    boot_database
}

# The editor of somebody who does what step 3 of README.md says.
install_editor() {
    put /usr/local/bin/editor <<'EDITOR'
#!/bin/sh
sed -i -e 's,^url = "postgresql.*,url = "postgresql://relinkd@127.0.0.1:5433/okdesk_bot",' \
    -e 's,^# password_file = ,password_file = ,' "$1"
EDITOR
    inside chmod 755 /usr/local/bin/editor
}

boot_database() {
    local binaries
    binaries=$(postgres_binaries)
    inside install -d -o postgres -g postgres /var/lib/okdesk
    as postgres "$binaries/initdb" -D /var/lib/okdesk/data -N -A peer --auth-host=scram-sha-256 -E UTF8 --locale=C.UTF-8 >/dev/null
    put /etc/systemd/system/okdesk-postgres.service <<UNIT
[Service]
Type=notify
User=postgres
RuntimeDirectory=postgresql
ExecStart=$binaries/postgres -D /var/lib/okdesk/data -p 5433 -c unix_socket_directories=/run/postgresql -c fsync=off
KillSignal=SIGINT
UNIT
    inside systemctl start okdesk-postgres
    as postgres psql -Xq -p 5433 <<<"create role okdesk_user superuser login password '$OKDESK_PASSWORD';
        create database okdesk_bot owner okdesk_user"
}

# What the bot has done before relinkd came: users with and without tokens, links of every kind.
the_bot_has_worked() {
    bot <tests/bot/tables.sql
    bot <<'SQL'
insert into users (telegram_id, user_type) values
    (413129274, 'client'), (500100200, 'client'), (77000001, 'client'), (88000002, 'client');
update users set portal_token = '9999-8888-7777-6666' where telegram_id = 77000001;
insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url) values
    (101, 413129274, 4711, 'opened', 'https://yapomogu55.okdesk.ru/issues/4711'),
    (102, 413129274, 4712, 'opened', 'https://yapomogu55.okdesk.ru/api/v1/issues/4712'),
    (103, 500100200, 4713, 'opened', 'https://yapomogu55.okdesk.ru/login?token=4401-9276-1183-5520&redirect=/issues/4713'),
    (104, 77000001, 4714, 'opened', 'https://yapomogu55.okdesk.ru/issues/4714?tab=files#comment-5'),
    (105, 77000001, 4715, 'opened', 'https://help.example.org/issues/4715'),
    (106, 88000002, 4716, 'opened', 'https://yapomogu55.okdesk.ru/issues/new'),
    (107, 88000002, 4717, 'opened', null);
SQL
}

bot() { as postgres psql -XqAt -v ON_ERROR_STOP=1 -p 5433 -d okdesk_bot -c 'set role okdesk_user' -f -; }
# the_bot SQL: on the page, too.
the_bot() { WHO=bot records 'okdesk_bot=>' "$1" bot <<<"$1"; }

links_have() { bot <<<'select okdesk_url from issues' | grep -q -- "token=$1"; }
settled() { inside relinkd status --json | grep -q '"changes": *0'; }
file_rejected() { inside test -e "/var/spool/relinkd/rejected/$1.reason"; }
file_applied() { inside test -e "/var/spool/relinkd/applied/$1.json"; }

# installing STEP: types what README.md gives under this number.
installing() {
    local line
    while IFS= read -r line <&3; do
        case $line in
            'relinkd install '*) answers "$OKDESK_PASSWORD" "$line" ;;
            'relinkd status') soon 20 settled && types "$line" ;;
            *) types "$line" ;;
        esac
    done 3< <(commands_of README.md '## Installing it' | sed -n "s/^$1\t//p")
}

test_day_begins_with_a_package_and_a_configuration() {
    first_machine
    boot_machine
    the_bot_has_worked
    page 01-package
    installing 1
    installing 2
    installing 3
    as_kept
}

test_day_has_a_key_and_a_first_check() {
    first_machine
    page 02-key
    installing 4
    as_kept
}

test_day_installs_with_a_password_that_is_asked_for() {
    first_machine
    page 03-schema
    installing 5
    as_kept
}

test_day_sees_what_will_change_and_starts() {
    first_machine
    page 04-start
    installing 6
    as_kept
    # There is no step that was left out.
    equal "$(commands_of README.md '## Installing it' | tail -n 1 | cut -f 1)" 6
}

test_day_sets_tokens_by_hand() {
    first_machine
    page 05-by-hand
    inside sh -c 'echo 7812-5733-8392-7092 >/root/token.txt'
    documented docs/daily.md 'relinkd token set 413129274 < token.txt'
    documented_answers 7812-5733-8392-7093 docs/daily.md 'relinkd token set 413129274'
    types 'echo 7812-5733-8392-7093 | relinkd token set 500100200'
    types 'echo 7812-5733-8392-7093 | relinkd token set 4711'
    types 'echo "7812 5733" | relinkd token set 500100200'
    documented docs/daily.md 'relinkd token show 413129274'
    documented docs/daily.md 'relinkd token show 413129274 --reveal'
    documented docs/daily.md 'relinkd token list'
    documented docs/daily.md 'relinkd token remove 413129274'
    documented docs/daily.md 'relinkd token remove 413129274'
    as_kept
}

test_day_imports_a_spreadsheet() {
    first_machine
    page 06-spreadsheet
    inside sh -c 'printf "\357\273\277ФИО;telegram_id;token\r\nАлиса;413129274;7812-5733-8392-7092\r\nБорис;4,13E+08;1111-2222\r\nВера;77000001;9999-8888-7777-6666\r\n" >/root/tokens.csv'
    types 'cat tokens.csv'
    documented docs/daily.md 'relinkd token import tokens.csv --dry-run'
    types "sed -i 's/4,13E+08;1111-2222/500100200;1111-2222-3333-4444/' tokens.csv"
    documented docs/daily.md 'relinkd token import tokens.csv --dry-run'
    documented docs/daily.md 'relinkd token import tokens.csv'
    soon 20 settled
    documented docs/daily.md 'relinkd sync --dry-run'
    as_kept
}

test_day_takes_a_drop_file_of_an_operator() {
    first_machine
    inside useradd -m alice
    page 07-drop-file
    documented docs/install.md "stat -c '%G' $INCOMING"
    alice_types 'relinkd spool'
    documented docs/install.md 'adduser alice relinkd-ops'
    alice_types 'relinkd spool'
    assignment 413129274 5150-1984-2001-4242 | put /home/alice/tokens.toml
    inside chown alice: /home/alice/tokens.toml
    alice_documented docs/daily.md "install -m 0640 tokens.toml $INCOMING/.tokens.tmp"
    alice_documented docs/daily.md "mv $INCOMING/.tokens.tmp $INCOMING/tokens.toml"
    soon 20 file_applied tokens.toml
    alice_types 'cat /var/spool/relinkd/applied/tokens.toml.json'
    the_bot "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url) values
    (108, 413129274, 4718, 'opened', 'https://yapomogu55.okdesk.ru/issues/4718')"
    the_bot "update users set portal_token = '2718-2818-2845-9045' where telegram_id = 88000002"
    soon 20 settled
    the_bot "select id, okdesk_url from issues order by id"
    as_kept
}

test_day_asks_who_and_why() {
    first_machine
    page 08-who-and-why
    documented docs/daily.md 'relinkd history'
    documented docs/daily.md 'relinkd history 413129274 --since 24h'
    documented docs/daily.md 'journalctl RELINKD_TELEGRAM_ID=413129274'
    documented docs/daily.md 'relinkd explain 101'
    documented docs/daily.md 'relinkd explain --number 4711'
    types "echo 'https://yapomogu55.okdesk.ru/login?token=5150-1984-2001-4242&redirect=/issues/4711' | relinkd explain --link"
    types "echo 'https://yapomogu55.okdesk.ru.example.org/issues/4711' | relinkd explain --link"
    documented docs/daily.md 'relinkd explain --user 413129274'
    types 'relinkd explain 105'
    types 'relinkd explain 999'
    documented docs/daily.md 'relinkd sync 413129274 500100200'
    types 'relinkd sync 1'
    types 'relinkd health'
    as_kept
}

# bad NAME: alice delivers standard input, or what lies in her home under that name, and looks why it comes back.
bad() {
    WHO=alice typed sh -c "umask 0027; cp $1 $INCOMING/.$1.tmp; mv $INCOMING/.$1.tmp $INCOMING/$1"
    soon 20 file_rejected "$1"
    alice_types "relinkd spool show $1"
}

# writes NAME: standard input becomes a file of alice's, and stands on the page.
writes() {
    put "/home/alice/$1"
    inside chown alice: "/home/alice/$1"
    alice_types "cat $1"
}

test_day_has_bad_files_of_other_formats() {
    first_machine
    page 09-bad-formats
    writes curly.toml <<<$'telegram_id = 413129274\ntoken = “7812-5733-8392-7092”' && bad curly.toml
    writes bare.toml <<<$'telegram_id = 413129274\ntoken = 7812-5733-8392-7092' && bad bare.toml
    writes json.toml <<<'{"telegram_id": 413129274, "token": "7812-5733-8392-7092"}' && bad json.toml
    writes yaml.toml <<<$'telegram_id: 413129274\ntoken: 7812-5733-8392-7092' && bad yaml.toml
    writes csv.toml <<<$'telegram_id;token\n413129274;7812-5733-8392-7092' && bad csv.toml
    writes right.toml <<<$'# токен Алисы\ntelegram_id = 413129274\ntoken = "7812-5733-8392-7092"'
    alice_types 'iconv -t UTF-16 right.toml > utf16.toml' && bad utf16.toml
    alice_types 'iconv -t CP1251 right.toml > windows.toml' && bad windows.toml
    as_kept
}

test_day_has_bad_files_of_other_contents() {
    first_machine
    page 10-bad-contents
    writes key.toml <<<$'telegram-id = 413129274\ntoken = "7812-5733-8392-7092"' && bad key.toml
    writes twice.toml <<<$'telegram_id = 413129274\ntoken = "7812-5733-8392-7092"\ntoken = "7812-5733-8392-7093"' && bad twice.toml
    writes nobody.toml <<<$'telegram_id = 4711\ntoken = "1618-0339-8874-9894"' && bad nobody.toml
    writes taken.toml <<<$'telegram_id = 413129274\ntoken = "1111-2222-3333-4444"' && bad taken.toml
    writes several.toml <<'FILE' && bad several.toml
[[assignment]]
telegram_id = "413129274"
token = "7812 5733 8392 7092"

[[assignment]]
telegram_id = 500100200
remove = false

[[assignment]]
telegram_id = 4711
remove = true
FILE
    inside install -m 0 /dev/null /home/alice/empty.toml
    inside sh -c 'chown alice: /home/alice/empty.toml; chmod 640 /home/alice/empty.toml'
    alice_types 'wc -c empty.toml' && bad empty.toml
    as_kept
}

test_day_deals_with_what_was_rejected() {
    first_machine
    page 11-rejected
    alice_types "cp right.toml $INCOMING/right.txt; ln -s /home/alice/right.toml $INCOMING/link.toml"
    soon 20 log_has link.toml
    documented docs/daily.md 'relinkd spool'
    documented docs/daily.md 'relinkd status'
    types 'relinkd health'
    alice_types "sed -i 's/[“”]/\"/g' /var/spool/relinkd/rejected/curly.toml"
    alice_types 'relinkd spool retry curly.toml'
    soon 20 file_applied curly.toml
    the_bot "insert into users (telegram_id, user_type) values (4711, 'client')"
    alice_types "mv /var/spool/relinkd/rejected/nobody.toml $INCOMING/"
    soon 20 file_applied nobody.toml
    alice_types 'relinkd spool'
    alice_types "rm $INCOMING/right.txt $INCOMING/link.toml"
    alice_types 'relinkd spool discard bare.toml json.toml yaml.toml csv.toml utf16.toml windows.toml key.toml twice.toml nobody.toml taken.toml several.toml empty.toml'
    alice_types 'relinkd spool'
    documented docs/daily.md 'relinkd status'
    as_kept
}

test_day_rotates_the_key() {
    first_machine
    page 12-rotation
    documented docs/keys.md 'relinkd key generate --id k2026b --reload'
    documented docs/keys.md 'relinkd key promote k2026b --reload'
    documented docs/keys.md 'relinkd key retire k2026a --reload'
    documented docs/keys.md 'relinkd rekey'
    documented docs/keys.md 'relinkd status'
    documented docs/keys.md 'relinkd key retire k2026a --reload'
    documented docs/keys.md 'relinkd key list'
    as_kept
}

daemon_connected() { inside relinkd status --json | grep -q '"mode": *"listen"'; }

test_day_has_a_dead_database() {
    first_machine
    page 13-dead-database
    inside systemctl stop okdesk-postgres
    soon 20 says_status 'cannot connect'
    types 'systemctl show -P StatusText relinkd'
    documented docs/troubleshooting.md 'relinkd check'
    documented docs/troubleshooting.md 'relinkd status'
    types 'relinkd health'
    documented docs/daily.md 'relinkd token set 413129274 < token.txt'
    assignment 413129274 3141-5926-5358-9793 | put /home/alice/tokens.toml
    alice_documented docs/daily.md "install -m 0640 tokens.toml $INCOMING/.tokens.tmp"
    alice_documented docs/daily.md "mv $INCOMING/.tokens.tmp $INCOMING/tokens.toml"
    soon 20 log_has 'files in the spool wait'
    alice_types 'relinkd spool'
    documented docs/daily.md 'journalctl -u relinkd -p warning --since today'
    inside systemctl start okdesk-postgres
    soon 30 links_have 3141-5926-5358-9793
    soon 30 settled
    documented docs/troubleshooting.md 'relinkd status'
    types 'relinkd health'
    types 'journalctl -u relinkd --since today | grep connect'
    as_kept
}

test_day_makes_a_backup() {
    first_machine
    page 14-backup
    documented docs/keys.md 'runuser -u postgres -- pg_dump -Fc okdesk_bot > okdesk_bot.dump'
    documented docs/keys.md 'cp -a /etc/relinkd/keyring.toml /root/keyring-2026-11-23.toml'
    as_kept
    inside sh -c 'cp /root/okdesk_bot.dump /root/keyring-2026-11-23.toml /etc/relinkd/config.toml /etc/relinkd/password /share/'
}

test_day_loses_the_keyring() {
    first_machine
    page 15-lost-keyring
    types 'rm /etc/relinkd/keyring.toml'
    documented docs/daily.md 'systemctl reload relinkd'
    documented docs/daily.md 'systemctl restart relinkd'
    documented docs/daily.md 'relinkd check'
    documented docs/daily.md 'relinkd status'
    types 'relinkd health'
    types 'journalctl -t relinkd -n 7'
    documented docs/keys.md 'relinkd key generate --id k2026b --reload'
    documented docs/install.md 'relinkd key generate'
    types 'ls /etc/relinkd'
    documented docs/daily.md 'relinkd token show 413129274'
    types 'cp -a /root/keyring-2026-11-23.toml /etc/relinkd/keyring.toml'
    types 'systemctl start relinkd'
    soon 20 daemon_connected
    documented docs/daily.md 'relinkd check'
    as_kept
}

# What a dump brings to another machine.
rows() { bot <<<'select telegram_id, portal_token from users order by 1; select id, okdesk_url from issues order by 1'; }

test_day_restores_on_a_second_machine() {
    second_machine
    boot_machine
    cp "$MACHINES"/monday/share/{okdesk_bot.dump,keyring-2026-11-23.toml,config.toml,password} "$SANDBOX_DIR/share/"
    inside sh -c 'cd /share && cp okdesk_bot.dump keyring-2026-11-23.toml config.toml password /root/'
    page 16-second-machine
    documented docs/keys.md 'apt install ./relinkd_*.deb'
    documented docs/keys.md 'install -m 0640 -g relinkd config.toml password /etc/relinkd/'
    documented docs/keys.md 'install -m 0640 -g relinkd keyring-2026-11-23.toml /etc/relinkd/keyring.toml'
    documented docs/keys.md 'relinkd check --offline'
    documented docs/keys.md 'systemctl stop relinkd'
    documented docs/keys.md 'runuser -u postgres -- createuser relinkd'
    documented docs/keys.md 'runuser -u postgres -- pg_restore --clean --if-exists -d okdesk_bot < okdesk_bot.dump'
    types "cat /etc/relinkd/password /etc/relinkd/password | runuser -u postgres -- psql -qc '\\password relinkd'"
    documented_answers "$OKDESK_PASSWORD" docs/troubleshooting.md 'relinkd install --admin-url postgresql://okdesk_user@127.0.0.1:5433/okdesk_bot'
    documented docs/keys.md 'relinkd check'
    documented docs/keys.md 'relinkd sync --dry-run'
    documented docs/keys.md 'relinkd sync'
    documented README.md 'systemctl enable --now relinkd'
    soon 20 daemon_connected
    soon 20 settled
    documented docs/keys.md 'relinkd status'
    documented docs/daily.md 'relinkd token show 413129274'
    as_kept
    equal "$(rows)" "$(first_machine && rows)"
}

# Files called relinkd something, of those that were written since the boot.
left_over() {
    (cd "$SANDBOX_DIR/disk/upper" && find . -path '*relinkd*' ! -type c -printf '/%P\n' | sort)
    inside find /run /tmp /var/log -name '*relinkd*'
}

test_day_ends_with_a_purge() {
    first_machine
    page 17-purge
    documented docs/troubleshooting.md 'systemctl disable --now relinkd'
    types 'relinkd uninstall --admin-url postgresql://okdesk_user@127.0.0.1:5433/okdesk_bot </dev/null'
    documented_answers "$OKDESK_PASSWORD" docs/troubleshooting.md 'relinkd uninstall --unseal --admin-url postgresql://okdesk_user@127.0.0.1:5433/okdesk_bot'
    documented_answers y docs/troubleshooting.md 'apt remove relinkd'
    documented_answers y docs/troubleshooting.md 'apt purge relinkd'
    records 'left:' 'files of that name' left_over
    types 'getent passwd relinkd; getent group relinkd-ops; systemctl list-unit-files "relinkd*"'
    the_bot 'select telegram_id, portal_token from users order by 1'
    the_bot "select id, okdesk_url from issues order by 1"
    as_kept
}

journal_has_a_token() { inside journalctl -o export | grep -aE '[0-9]{4}(-[0-9]{4}){3}'; }

test_day_leaves_no_token_in_a_journal() {
    first_machine
    fails journal_has_a_token
    second_machine
    fails journal_has_a_token
}

test_day_has_a_page_for_each_part_and_no_other() {
    equal "$(sed -n 's/^    page //p' tests/systemd/cases/70-day.sh)" "$(cd "$PAGES" && printf '%s\n' *.txt | sed 's/\.txt$//')"
}
