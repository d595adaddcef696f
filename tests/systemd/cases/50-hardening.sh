# shellcheck shell=bash
# That the walls stand. A probe runs in the unit's place, with every line of the unit but what it starts, and tries what
# a daemon that was broken into would try.

process_status() { inside sed -n "s/^$1:\t*//p" "/proc/$(main_pid)/status"; }

# probe SCRIPT [LINE...]: runs the script in the unit's walls, with these lines of a [Service] added; its status is the
# script's. The walls forbid every other program, so the shell and its tools are let in.
probe() {
    local script=$1
    shift
    sed -e 's/^Type=.*/Type=oneshot/' -e '/^ExecReload=/d' -e '/^Restart/d' -e '/^WatchdogSec=/d' -e '/^RuntimeDirectory/d' \
        -e 's,^ExecStart=.*,ExecStart=/usr/bin/bash /usr/lib/probe,' systemd/relinkd.service |
        put /etc/systemd/system/probe.service
    use_drop_in probe.conf probe.service <<<"[Service]
ExecPaths=/usr/bin
$(printf '%s\n' "$@")"
    put /usr/lib/probe <<<"$script"
    inside systemctl start probe || {
        inside journalctl -u probe -o cat -n 20 --no-pager
        return 1
    }
}

test_it_has_no_rights() {
    equal "$(process_status Uid)" "$(inside id -u relinkd | sed 's/.*/&\t&\t&\t&/')"
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do equal "$(process_status "$set")" 0000000000000000; done
    equal "$(process_status NoNewPrivs)" 1
    equal "$(process_status Seccomp)" 2
}

test_it_leaves_no_core_file() {
    equal "$(inside sed -n 's/^Max core file size *//p' "/proc/$(main_pid)/limits" | tr -s ' ')" "0 0 bytes "
    # What is not dumpable belongs to root in /proc (proc(5)).
    equal "$(inside stat -c %U "/proc/$(main_pid)/environ")" root
}

test_it_writes_into_the_spool_and_nowhere_else() {
    # shellcheck disable=SC2016  # the probe's
    probe '
        : >/var/spool/relinkd/claimed/probe || exit 1
        rm /var/spool/relinkd/claimed/probe
        for path in / /etc /etc/relinkd /usr /usr/bin /boot /root /home /var /var/lib /var/log /var/spool /run /dev /proc /sys \
            /etc/systemd/system /run/credentials; do
            if : 2>/dev/null >"$path/probe"; then echo "wrote into $path"; exit 1; fi
        done
        for file in /etc/relinkd/keyring.toml /etc/relinkd/config.toml /usr/bin/relinkd /etc/passwd; do
            if : 2>/dev/null >>"$file"; then echo "can write $file"; exit 1; fi
        done
        cat /etc/relinkd/keyring.toml >/dev/null
    '
}

test_it_sees_neither_homes_nor_other_processes_nor_shared_tmp() {
    inside sh -c 'mkdir -p /home/alice; chmod 755 /home/alice; echo x >/home/alice/seen; echo x >/tmp/seen; chmod 644 /tmp/seen'
    # shellcheck disable=SC2016  # the probe's
    probe '
        if [ -e /home/alice/seen ] || [ -e /tmp/seen ]; then echo "sees files"; exit 1; fi
        if [ -e /proc/1 ]; then echo "sees process 1"; exit 1; fi
        if [ -e /proc/meminfo ] || [ -e /dev/tty ] && : >/dev/tty; then echo "sees devices"; exit 1; fi
    '
}

test_it_gets_no_more_rights() {
    # shellcheck disable=SC2016  # the probe's
    probe '
        for try in "unshare --user true" "unshare --mount true" "mount -t tmpfs tmpfs /tmp" "chmod 2770 /var/spool/relinkd/claimed" \
            "chown 0 /var/spool/relinkd/claimed" "date -s 2030-01-01" "hostname probe" "chroot / true" "nice -n -5 true -x" "dmesg"; do
            if $try >/dev/null 2>&1 && [ "${try#nice}" = "$try" ]; then echo "may: $try"; exit 1; fi
        done
    '
}

test_it_starts_no_other_program() {
    fails inside nsenter -t "$(main_pid)" -m /usr/bin/id
    fails inside nsenter -t "$(main_pid)" -m /bin/sh -c true
}

test_a_list_of_addresses_is_kept_to() {
    local connect='exec 3<>/dev/tcp/192.0.2.1/5432'
    inside ip address add 192.0.2.1/32 dev lo
    probe "$connect"
    # What is dropped is answered by nobody, and TCP would try again for a minute.
    fails probe "$connect" IPAddressDeny=any IPAddressAllow=localhost TimeoutStartSec=5
    probe 'exec 3<>/dev/tcp/127.0.0.1/5432' IPAddressDeny=any IPAddressAllow=localhost
}

test_without_a_network_nobody_is_reached() {
    fails probe 'exec 3<>/dev/tcp/127.0.0.1/5432' PrivateNetwork=yes RestrictAddressFamilies= RestrictAddressFamilies=AF_UNIX
}
