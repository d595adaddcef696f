# shellcheck shell=bash
# Runs tests that are shell functions, and reports them. A test fails where a command in it does; what it printed is then
# shown.

# The names of the tests in these files, in the order in which they stand there.
tests_in() { sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' "$@" | grep -E "${ONLY:-.}"; }

has_tests() { [[ -n $(tests_in "$@") ]]; }

# run_tests FILE...: every function test_* of these files.
run_tests() {
    local name log status passed=0 failed=0
    log=$(mktemp)
    while read -r name; do
        # Not within a condition: there a function would go on after a failure.
        set +e
        (
            set -e
            "test_$name"
        ) >"$log" 2>&1 </dev/null
        status=$?
        set -e
        if [[ $status -eq 0 ]]; then
            passed=$((passed + 1))
            printf 'ok      %s\n' "${name//_/ }"
        else
            failed=$((failed + 1))
            printf 'FAILED  %s\n' "${name//_/ }"
            sed 's/^/        /' "$log"
        fi
    done < <(tests_in "$@")
    rm -f "$log"
    printf '%s: %d passed, %d failed\n' "${0#./}" "$passed" "$failed"
    [[ $failed -eq 0 && $passed -gt 0 ]]
}
