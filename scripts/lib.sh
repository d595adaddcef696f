# shellcheck shell=bash
# What scripts/test and scripts/demo share: a machine with Rust and Debian's packages is all they ask
# for. What is missing is installed, and named before it is; what cannot be installed is named too.

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
        systemd) has systemd-analyze && has systemctl ;;
        iproute2) has ip ;;
        dpkg-dev) has dpkg-shlibdeps ;;
        lintian) has lintian ;;
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
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        say "(Debian's postgresql may start a server of its own; it is not used here)"
    fi
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
