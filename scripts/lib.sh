# shellcheck shell=bash
# What the scripts share: a machine with Rust and Debian's packages is all they ask for. What is missing is installed,
# and named before it is; what cannot be installed is named too.

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

# The directory of the newest Postgres that relinkd knows (PG_BIN overrides), or nothing.
postgres_binaries() {
    local version
    if [[ -n ${PG_BIN:-} ]]; then
        if [[ -x $PG_BIN/initdb ]]; then printf '%s\n' "$PG_BIN"; fi
        return
    fi
    for version in 18 17 16 15 14; do
        if [[ -x /usr/lib/postgresql/$version/bin/initdb ]]; then
            printf '/usr/lib/postgresql/%s/bin\n' "$version"
            return
        fi
    done
}

has() { command -v "$1" >/dev/null 2>&1; }

# Whether the machine has what a package of that name is wanted for.
is_there() {
    case $1 in
        build-essential) has cc && has make && [[ -e /usr/include/stdlib.h ]] ;;
        pkg-config) has pkg-config ;;
        libssl-dev) pkg-config --exists openssl 2>/dev/null ;;
        openssl) has openssl ;;
        postgresql) [[ -n $(postgres_binaries) ]] && has psql ;;
        pgbouncer) has pgbouncer ;;
        systemd) has systemd-analyze && has systemctl ;;
        iproute2) has ip ;;
        npm) has npm ;;
        python3-pip) /usr/bin/python3 -m pip --version >/dev/null 2>&1 ;;
        dpkg-dev) has dpkg-shlibdeps ;;
        lintian) has lintian ;;
        llvm-[0-9]*) [[ -x /usr/lib/$1/bin/llvm-profdata ]] ;;
        python3) [[ -x /usr/bin/python3 ]] ;;
        # Debian's packages are for Debian's Python, whatever else is on the path.
        python3-psycopg2) /usr/bin/python3 -c 'import psycopg2' 2>/dev/null ;;
        python3-cryptography) /usr/bin/python3 -c 'import cryptography' 2>/dev/null ;;
        *) fail "scripts/lib.sh does not know the package $1" ;;
    esac
}

# Installs those of these Debian packages that are missing; ends the script where it can not.
need_packages() {
    local package missing=() still=() as_root=()
    # Administrators' programs (ip, for one) are not on everybody's path.
    PATH=$PATH:/usr/sbin:/sbin
    if [[ -n ${PG_BIN:-} && ! -x $PG_BIN/initdb ]]; then fail "PG_BIN=$PG_BIN: no initdb there"; fi
    for package in "$@"; do
        is_there "$package" || missing+=("$package")
    done
    if [[ ${#missing[@]} -eq 0 ]]; then return; fi
    has apt-get || fail "this is no Debian; install what these packages hold there: ${missing[*]}"
    if [[ $EUID -ne 0 ]]; then
        if has sudo && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
            as_root=(sudo)
        else
            fail "missing: ${missing[*]}. As root: apt-get install ${missing[*]}"
        fi
    fi
    say "installing from Debian: ${missing[*]}"
    for package in postgresql pgbouncer; do
        if [[ " ${missing[*]} " == *" $package "* ]]; then
            say "(Debian's $package may start a server of its own; it is not used here)"
        fi
    done
    "${as_root[@]}" apt-get -qq update >&2 || fail "apt-get update failed"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "${missing[@]}" >&2 ||
        fail "apt-get could not install: ${missing[*]}"
    for package in "${missing[@]}"; do
        is_there "$package" || still+=("$package")
    done
    if [[ ${#still[@]} -ne 0 ]]; then
        fail "installed, but still not usable: ${still[*]} (Postgres has to be 14 to 18; PG_BIN names another place)"
    fi
}

# Makes cargo available; ends the script where it is not installed.
need_rust() {
    has cargo || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    has cargo || fail "no cargo; install Rust first, from https://rustup.rs or a package of at least version 1.88"
}

# Makes these parts of the Rust toolchain available; ends the script where it can not.
need_components() {
    local component
    for component in "$@"; do
        # rustup puts a stand-in on the path that fails for a component which is not installed.
        if cargo "${component#rust}" --version >/dev/null 2>&1; then continue; fi
        has rustup || fail "cargo has no $component, and there is no rustup to add it: install it"
        say "adding to the Rust toolchain: $component"
        rustup component add "$component" >&2 || fail "rustup could not add $component"
    done
}

# Cargo's extensions, and the version of each that the scripts are tried with.
declare -A tool_versions=(
    [cargo-auditable]=0.7.7
    [cargo-deb]=3.8.0
    [cargo-deny]=0.20.2
    [cargo-fuzz]=0.13.2
    [cargo-llvm-cov]=0.9.1
    [cargo-mutants]=27.1.0
)

# Whether this extension is installed at the version that is wanted.
is_installed() { cargo install --list | grep -q "^$1 v${tool_versions[$1]}:"; }

# Installs those of these extensions that are missing or of another version; ends the script where it can not.
need_tools() {
    local tool
    for tool in "$@"; do
        [[ -n ${tool_versions[$tool]-} ]] || fail "no such tool: $tool (scripts/tools --list)"
        if is_installed "$tool"; then continue; fi
        say "installing from crates.io into ${CARGO_HOME:-$HOME/.cargo}/bin: $tool ${tool_versions[$tool]}"
        cargo install --locked --quiet "$tool@${tool_versions[$tool]}" >&2 || fail "$tool cannot be installed"
    done
}

# Says that something was left out and how it is had. What was left out is said again by `say_what_was_skipped`.
skipped=()
skip() {
    say "== SKIPPED: $*"
    skipped+=("$*")
}

say_what_was_skipped() {
    if [[ ${#skipped[@]} -ne 0 ]]; then printf '== SKIPPED: %s\n' "${skipped[@]}" >&2; fi
}
