# shellcheck shell=bash
# What people type at a machine, and what it answers: the commands that the documentation gives, recorded page by page,
# made the same for every run, and compared with the pages that are kept in tests/systemd/day. UPDATE=yes writes these.
# shellcheck disable=SC2016  # scripts for a shell inside

PAGES=tests/systemd/day
# The year that the ids of keys begin with in the documentation. On the machine they begin with this year.
YEAR_OF_KEYS=2026

# page NAME: what is typed from here on stands on this page.
page() {
    PAGE=$1
    RECORD=$(mktemp -p "$MACHINES" record.XXXX)
}

# Ends the page, which must be as it is kept.
as_kept() {
    local kept=$PAGES/$PAGE.txt
    if [[ ${UPDATE:-} = yes ]]; then normal <"$RECORD" >"$kept"; fi
    normal <"$RECORD" | diff -u "$kept" - || {
        echo "if that is right: UPDATE=yes ONLY='^day' tests/systemd/run, and read what changes"
        return 1
    }
}

# Takes away what differs from run to run and from host to host: times, ages, process ids, ids of users, versions, what apt and
# dpkg say for themselves, the year in a key's id, a moment of the server's that not every run meets.
normal() {
    sed -E \
        -e 's/\r$//' -e 's/[[:space:]]+$//' -e '/^# apt /,/^(Unpacking|Removing|Purging)/ { /^(# apt|Unpacking|Removing|Purging) /!d }' \
        -e '/^(\(Reading database |Processing triggers for )/d' \
        -e '/: the database system is (starting up|shutting down)/d' \
        -e 's/20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?(Z|[+-][0-9:]{5})/2026-11-30T09:00:00\2/g' \
        -e 's/^[A-Z][a-z]{2} [0-9]{2} [0-9:]{8} sandbox/Nov 30 09:00:00 sandbox/' \
        -e 's/(relinkd|systemd|kill)\[[0-9]+\]/\1[PID]/g' \
        -e 's/\b(process|PID) [0-9]+/\1 PID/g' \
        -e 's/\b(for|up|in|after) [0-9]+ (ms|s|min|h)\b/\1 N s/g' \
        -e 's/\b[0-9]+ (s|min|h) ago/N s ago/g' \
        -e 's/\b[0-9]+ links? written/N links written/; s/audit_age=[0-9]+s/audit_age=Ns/' \
        -e 's/\b(UID|GID) [0-9]+/\1 N/g; s/:x(:[0-9]+)+/:x:N/' \
        -e 's/Postgres [0-9]+(\.[0-9]+)? \([^)]*\)/Postgres VERSION/' \
        -e 's/relinkd([_ ]\(?)[0-9]+\.[0-9]+\.[0-9]+(-[0-9]+)?/relinkd\1VERSION/g' \
        -e "s/\bk$(date +%Y)([a-z])/k$YEAR_OF_KEYS\1/g"
}

# typed COMMAND...: runs it inside, as $WHO who has just logged in: a session of their own, and nothing of this one's
# environment. Not by runuser, which has its arguments in the journal.
typed() {
    local home=/home/$WHO
    [[ $WHO != root ]] || home=/root
    inside sh -c '{ echo 4294967295 >/proc/self/loginuid; } 2>/dev/null; cd "$1" && shift && exec "$@"' sh "$home" \
        setsid -w setpriv --reuid="$WHO" --regid="$WHO" --init-groups \
        env -i HOME="$home" USER="$WHO" LANG=C.UTF-8 TZ=UTC TERM=dumb PGPORT=5433 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# records PROMPT LINE COMMAND...: puts both on the page, and what the command answers. A status other than 0 stands beneath.
records() {
    local status=0 answer
    answer=$("${@:3}" 2>&1) || status=$?
    {
        printf '%s %s\n' "$1" "$2"
        if [[ -n $answer ]]; then printf '%s\n' "$answer"; fi
        if [[ $status -ne 0 ]]; then printf '[exit status %d]\n' "$status"; fi
    } | tee -a "$RECORD"
}

# types LINE: root does.
types() { WHO=root records '#' "$1" typed sh -c "$1"; }
alice_types() { WHO=alice records 'alice$' "$1" typed sh -c "$1"; }
# answers ANSWER LINE: root types a line that asks for something, at a terminal, and then the answer.
answers() { WHO=root records '#' "$2" typed_at_a_terminal "$2" "$1"; }

# The answer comes when the question is there: what is typed before goes astray. Where none comes, nothing is typed.
typed_at_a_terminal() {
    typed sh -c '
        seen=$(mktemp)
        for _ in $(seq 400); do
            sleep 0.05
            if tail -n 1 "$seen" | grep -q "[]:] $"; then echo "$2" && break; fi
        done | script -qefc "$1" "$seen"
        status=$?
        rm "$seen"
        exit $status' sh "$1" "$2"
}

# commands_of PAGE [HEADING]: the lines in its blocks of commands, of the section under that heading alone where one is given.
# Before each line stands the block's number.
commands_of() {
    awk -v wanted="${2:-}" '
        !block && /^#/ { within = wanted == "" || $0 == wanted }
        /^ *```/ {
            block = !block && /```sh$/
            number += within && block
            next
        }
        within && block { sub(/^ +/, ""); print number "\t" $0 }' "$1"
}

# documented PAGE LINE: root types a line that must stand in a block of that page, word for word.
documented() { documented_as types "$@"; }
alice_documented() { documented_as alice_types "$@"; }
# documented_answers ANSWER PAGE LINE: the same, of a line that asks for something.
documented_answers() {
    local line
    line=$(in_documentation "${@:2}")
    answers "$1" "$line"
}

# By a variable: a failure within an argument would be none.
documented_as() {
    local line
    line=$(in_documentation "${@:2}")
    "$1" "$line"
}

# in_documentation PAGE LINE: prints the line for this year.
in_documentation() {
    if ! commands_of "$1" | cut -f 2- | grep -qxF -- "$2"; then
        echo "$1 does not tell anybody to type this: $2" >&2
        return 1
    fi
    this_year <<<"$2"
}

this_year() { sed -E "s/\bk$YEAR_OF_KEYS([a-z])/k$(date +%Y)\1/g"; }
