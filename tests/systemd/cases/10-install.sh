# shellcheck shell=bash
# From the package to working links: dpkg, three edits, systemctl.

# What stands there for a path: owner, group, mode.
standing() { inside stat -c '%U:%G %a' "$1"; }

sealed() { sql "select count(*) from users where portal_token like 'relinkd:v1:%'"; }

test_the_package_starts_nothing_without_a_configuration() {
    inside dpkg -i --force-unsafe-io /share/relinkd.deb
    equal "$(property ActiveState)" inactive
    fails inside systemctl -q is-enabled relinkd
    fails inside systemctl -q is-failed relinkd
}

test_the_package_makes_users_and_directories() {
    equal "$(inside id -Gn relinkd)" "relinkd relinkd-ops"
    equal "$(standing /etc/relinkd)" "root:relinkd 750"
    equal "$(standing /var/spool/relinkd)" "relinkd:relinkd-ops 2755"
    equal "$(standing /var/spool/relinkd/incoming)" "relinkd:relinkd-ops 3770"
    equal "$(standing /var/spool/relinkd/claimed)" "relinkd:relinkd-ops 2700"
    equal "$(standing /var/spool/relinkd/applied)" "relinkd:relinkd-ops 2750"
    equal "$(standing /var/spool/relinkd/rejected)" "relinkd:relinkd-ops 2770"
}

test_the_installed_units_are_clean() {
    local complaints
    complaints=$(inside systemd-analyze verify --man=no --recursive-errors=no relinkd.service relinkd@shop.service 2>&1) ||
        echo "exit status $?"
    equal "$complaints" ""
    inside relinkd --version
    inside test -s /usr/share/man/man1/relinkd.1.gz -a -s /usr/share/man/man5/relinkd-config.5.gz -a -s /usr/share/bash-completion/completions/relinkd
}

test_a_start_without_a_configuration_fails_and_says_so() {
    fails inside systemctl start relinkd
    equal "$(property ExecMainStatus)" 4
    log_has /etc/relinkd/config.toml
    sleep 3
    equal "$(property NRestarts)" 0
    inside systemctl reset-failed relinkd
}

test_three_edits_and_a_start_lead_to_working_links() {
    inside sh -c 'sed "s,^url = \"postgresql.*,url = \"postgresql://relinkd@/okdesk_bot\"," \
        /usr/share/doc/relinkd/examples/config.toml.example >/etc/relinkd/config.toml'
    inside relinkd key generate
    inside runuser -u postgres -g relinkd -- relinkd install --admin-url postgresql://postgres@/okdesk_bot
    inside relinkd check
    inside systemctl -q enable --now relinkd
    equal "$(property ActiveState)" active
    [[ -n $(property StatusText) ]]
    sql "update users set portal_token = '$TOKEN' where telegram_id = 1"
    soon 10 link_is 1 "$(login "$TOKEN" 1)"
    soon 10 equal_now sealed 1
}
