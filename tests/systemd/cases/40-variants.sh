# shellcheck shell=bash
# The other ways to run it: several databases, no network, credentials.

# make_instance NAME: a database, a configuration, a key, and the unit started.
make_instance() {
    make_database "$1"
    put "/etc/relinkd/$1.toml" <<CONFIGURATION
[database]
url = "postgresql://relinkd@/$1"
[portal]
base_url = "https://yapomogu55.okdesk.ru"
CONFIGURATION
    inside relinkd --config "/etc/relinkd/$1.toml" key generate
    inside runuser -u postgres -g relinkd -- \
        relinkd --config "/etc/relinkd/$1.toml" install --admin-url "postgresql://postgres@/$1"
    inside systemctl -q enable --now "relinkd@$1"
}

restores_link_1() {
    sql "update issues set okdesk_url = 'https://yapomogu55.okdesk.ru/issues/1' where id = 1"
    soon 10 link_is 1 "$(login "$TOKEN" 1)"
}

test_two_instances_run_beside_each_other() {
    make_instance alpha
    make_instance beta
    equal "$(property ActiveState relinkd@alpha)" active
    equal "$(property ActiveState relinkd@beta)" active
    equal "$(property ActiveState)" active
    equal "$(inside stat -c '%U:%G %a' /var/spool/relinkd/alpha/incoming)" "relinkd:relinkd-ops 3770"
    assignment 1 "$NEW_TOKEN" | SPOOL=/var/spool/relinkd/alpha drop alice one.toml
    SPOOL=/var/spool/relinkd/alpha soon 10 applied one.toml
    DATABASE=alpha soon 10 link_is 1 "$(login "$NEW_TOKEN" 1)"
    DATABASE=beta link_is 1 https://yapomogu55.okdesk.ru/issues/1
    fails inside cmp -s /etc/relinkd/alpha.keyring.toml /etc/relinkd/beta.keyring.toml
    inside relinkd --config /etc/relinkd/alpha.toml status
    inside systemctl reload relinkd@alpha relinkd@beta
}

test_a_database_of_0_1_0_is_upgraded_with_what_waits() {
    local configuration=/etc/relinkd/old.toml
    make_database old
    as postgres psql -Xq -d old -f - <tests/upgrade/0.1.0.sql >/dev/null
    DATABASE=old sql "update users set portal_token = '$NEW_TOKEN' where telegram_id = 1"
    put "$configuration" <<'CONFIGURATION'
[database]
url = "postgresql://relinkd@/old"
[portal]
base_url = "https://yapomogu55.okdesk.ru"
CONFIGURATION
    inside relinkd --config "$configuration" key generate
    fails inside relinkd --config "$configuration" check
    inside runuser -u postgres -g relinkd -- \
        relinkd --config "$configuration" install --admin-url "postgresql://postgres@/old"
    inside systemctl -q enable --now relinkd@old
    DATABASE=old soon 10 link_is 1 "$(login "$NEW_TOKEN" 1)"
    equal "$(DATABASE=old sql 'select starts_with(portal_token, $$relinkd:v1:$$) from users where telegram_id = 1')" t
    inside systemctl -q disable --now relinkd@old
    inside rm -r "$configuration" /etc/relinkd/old.keyring.toml /var/spool/relinkd/old
}

test_it_works_without_any_network() {
    use_drop_in unix-only.conf <systemd/unix-only.conf
    inside systemctl restart relinkd
    restores_link_1
    fails equal "$(inside readlink "/proc/$(main_pid)/ns/net")" "$(inside readlink /proc/1/ns/net)"
    inside systemctl reload relinkd
    forget_drop_in unix-only.conf
    inside systemctl restart relinkd
}

test_credentials_reach_it() {
    sql "alter role relinkd password 'of no great length'"
    put /etc/relinkd/password <<<'of no great length'
    inside mkdir -p /etc/credstore.encrypted
    inside systemd-creds encrypt --with-key=host --name=keyring /etc/relinkd/keyring.toml /etc/credstore.encrypted/relinkd.keyring
    inside systemd-creds encrypt --with-key=host --name=password /etc/relinkd/password /etc/credstore.encrypted/relinkd.password
    inside cp -p /etc/relinkd/config.toml /root/config.good
    inside mv /etc/relinkd/keyring.toml /root/keyring.toml
    inside rm /etc/relinkd/password
    inside sed -i -e 's,^url = "postgresql.*,url = "postgresql://relinkd@127.0.0.1/okdesk_bot",' \
        -e 's,^# password_file = .*,password_file = "credential:password",' \
        -e 's,^file = "/etc/relinkd/keyring.*,file = "credential:keyring",' /etc/relinkd/config.toml
    use_drop_in credentials.conf <systemd/credentials.conf
    inside systemctl restart relinkd
    restores_link_1
    inside systemctl reload relinkd
    inside relinkd status
    fails inside relinkd key generate
    inside sed -i 's,^tokenless = .*,tokenless = "perhaps",' /etc/relinkd/config.toml
    fails inside systemctl reload relinkd
    inside mv /root/config.good /etc/relinkd/config.toml
    inside mv /root/keyring.toml /etc/relinkd/keyring.toml
    forget_drop_in credentials.conf
    inside systemctl restart relinkd
    restores_link_1
}

test_a_failure_is_told_as_the_example_says() {
    local examples=/usr/share/doc/relinkd/examples
    inside cp "$examples/relinkd-failed@.service" /etc/systemd/system/
    inside cat "$examples/on-failure.conf" | use_drop_in on-failure.conf
    use_drop_in tell.conf relinkd-failed@.service <<<$'[Service]\nEnvironment="TELL=tee /run/told"'
    inside cp -p /etc/relinkd/config.toml /root/config.good
    inside sed -i 's,^tokenless = .*,tokenless = "perhaps",' /etc/relinkd/config.toml
    fails inside systemctl restart relinkd
    soon 10 inside grep -q "^relinkd has failed on " /run/told
    soon 10 has_property ActiveState inactive relinkd-failed@relinkd.service
    inside grep 'tokenless' /run/told
    fails inside grep -qF "$TOKEN" /run/told
    inside mv /root/config.good /etc/relinkd/config.toml
    inside rm -r /etc/systemd/system/relinkd-failed@.service /etc/systemd/system/relinkd-failed@.service.d
    forget_drop_in on-failure.conf
    inside systemctl reset-failed relinkd
    inside systemctl start relinkd
    restores_link_1
}
