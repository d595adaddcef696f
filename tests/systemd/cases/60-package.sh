# shellcheck shell=bash
# Upgrade, removal, purge.

test_an_upgrade_restarts_what_runs() {
    local before alpha
    before=$(main_pid)
    alpha=$(main_pid relinkd@alpha)
    inside systemctl disable -q --now relinkd@beta
    inside dpkg -i --force-unsafe-io /share/relinkd.deb
    equal "$(property ActiveState)" active
    equal "$(property ActiveState relinkd@alpha)" active
    equal "$(property ActiveState relinkd@beta)" inactive
    fails equal "$(main_pid)" "$before"
    fails equal "$(main_pid relinkd@alpha)" "$alpha"
}

# Directories and links with the names of relinkd's own, made by operators.
test_upgrade_and_boot_go_through_whatever_lies_in_the_spool() {
    local name spool=/var/spool/relinkd
    for name in rejected applied claimed; do
        as alice mkdir -p "$spool/incoming/$name"
        as alice ln -s /etc "$spool/rejected/$name"
        as alice ln -s /etc/passwd "$spool/incoming/$name/rejected"
    done
    inside systemd-tmpfiles --create relinkd.conf
    inside systemd-tmpfiles --clean relinkd.conf
    as alice sh -c "rmdir $spool/incoming/applied && ln -s /etc $spool/incoming/applied" || true
    as alice sh -c "rm -r $spool/incoming/rejected && ln -s /etc $spool/incoming/rejected"
    inside systemd-tmpfiles --create relinkd.conf
    inside dpkg -i --force-unsafe-io /share/relinkd.deb
    equal "$(property ActiveState)" active
    equal "$(inside stat -c '%U:%G %a' /etc)" "root:root 755"
    inside relinkd check --offline
    inside find "$spool/incoming" "$spool/rejected" -mindepth 1 -delete
}

test_an_upgrade_beside_a_faulty_configuration_succeeds() {
    inside cp -p /etc/relinkd/alpha.toml /root/alpha.good
    inside sh -c 'echo "nonsense = 1" >>/etc/relinkd/alpha.toml'
    inside dpkg -i --force-unsafe-io /share/relinkd.deb
    equal "$(property ActiveState relinkd@alpha)" failed
    equal "$(property ActiveState)" active
    inside mv /root/alpha.good /etc/relinkd/alpha.toml
}

test_removal_stops_it_and_keeps_what_is_the_operators() {
    assignment 404 "$NEW_TOKEN" | drop alice eight.toml
    soon 10 rejected eight.toml
    inside dpkg -r relinkd
    equal "$(property ActiveState)" inactive
    fails inside test -e /usr/bin/relinkd
    for path in config.toml alpha.toml keyring.toml alpha.keyring.toml; do inside test -e "/etc/relinkd/$path"; done
    rejected eight.toml
}

test_a_new_installation_goes_on_where_the_old_one_stopped() {
    inside dpkg -i --force-unsafe-io /share/relinkd.deb
    equal "$(property ActiveState)" active
    equal "$(property ActiveState relinkd@alpha)" active
    equal "$(property ActiveState relinkd@beta)" inactive
    sql "update issues set okdesk_url = 'https://yapomogu55.okdesk.ru/issues/1' where id = 1"
    soon 10 link_is 1 "$(login "$TOKEN" 1)"
}

test_a_purge_keeps_the_keyrings_and_says_so() {
    local said
    inside cp -p /etc/relinkd/keyring.toml "/etc/relinkd/a copy"
    inside mkdir -p /etc/relinkd/old
    inside cp -p /etc/relinkd/config.toml /etc/relinkd/old/config.toml
    said=$(inside dpkg -P relinkd 2>&1)
    echo "$said"
    for path in keyring.toml alpha.keyring.toml beta.keyring.toml "a copy"; do
        inside test -e "/etc/relinkd/$path"
        [[ $said = *"  /etc/relinkd/$path"* ]]
    done
    [[ $said = *"  /etc/credstore.encrypted/relinkd.keyring"* ]]
    equal "$(inside find /etc/relinkd ! -type d | wc -l)" 4
    fails inside test -e /etc/relinkd/old
    fails inside test -e /var/spool/relinkd
    equal "$(inside find /etc/systemd/system -name 'relinkd*.service')" ""
}

test_a_purge_without_a_keyring_leaves_nothing() {
    inside rm -r /etc/relinkd /etc/credstore.encrypted
    inside dpkg -i --force-unsafe-io /share/relinkd.deb
    equal "$(property ActiveState)" inactive
    equal "$(inside dpkg -P relinkd 2>&1 | grep -c keyring)" 0
    fails inside test -e /etc/relinkd
}

test_after_all_of_it_the_journal_has_no_token() {
    fails inside sh -c 'journalctl -o export | grep -aE "'"$TOKEN|$NEW_TOKEN"'"'
}
