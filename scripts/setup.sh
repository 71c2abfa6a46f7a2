#!/usr/bin/env bash
# Installs what is missing to build Aegis, and nothing else: a second run is silent.
#   scripts/setup.sh            what `make dev` needs; a Rust with a WebAssembly target for guards, if it can be had
#   scripts/setup.sh --tests    what `make test` needs too: that target for certain, a browser with its driver, curl, Postgres,
#                               pgbouncer and haproxy; where there is Python or Node, what makes guards in Python, JavaScript and TypeScript
#   scripts/setup.sh --lint     what `make lint` needs too: rustfmt, clippy, cargo-deny; where there is Python, hadolint
#   scripts/setup.sh --fuzz     what `make fuzz` needs too: cargo-fuzz, below target/tools
#   scripts/setup.sh --cluster  what `make test-cluster` needs too: Postgres, patroni, etcd and haproxy
#   scripts/setup.sh --languages  what `make test-languages` needs too: compilers for guards in every language, below target/tools
set -euo pipefail
cd "$(dirname "$0")/.." # where rust-toolchain.toml stands

case "${1:-}" in
    "" | --tests | --lint | --fuzz | --cluster | --languages) purpose="${1:-}" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif has sudo; then sudo "$@"; else fail "as root, run: $*"; fi
}

apt_ready=
apt_install() { # PACKAGE…: fails where there is no apt, or where it has no such package
    has apt-get || return 1
    say "installing $* with apt-get"
    local quiet=-qq; [ -t 2 ] && quiet=
    if [ -z "$apt_ready" ]; then
        as_root apt-get $quiet update >&2 || say "the lists of packages are not fresh; going on with those at hand"
        apt_ready=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get $quiet install -y --no-install-recommends "$@" >&2
}

# The same two ways that `aegis guard build` goes.
target_installed() { [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ]; }
std_from_source() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/wasm-ld ] && [ -f "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}
wasm_target() {
    if target_installed || std_from_source; then return; fi
    if has rustup; then
        say "adding Rust's target wasm32-unknown-unknown"
        timeout 180 rustup target add wasm32-unknown-unknown >&2 && return
        say "rustup could not; trying the distribution's Rust and the sources of its standard library"
    fi
    apt_install rustc-web cargo-web rust-web-src lld && std_from_source
}

rust() {
    has cargo && has rustc || fail "Rust is missing. Install it from https://rustup.rs, or with your distribution's packages (1.95 or newer)"
    # With rustup, the first call installs the toolchain of rust-toolchain.toml.
    cargo --version >/dev/null || fail "Rust 1.95 is missing: rustup toolchain install 1.95.0"
    has cc || apt_install gcc libc6-dev || fail "a C compiler is missing (cc): install gcc or clang"
}

# Debian's packages would make databases and start them, and what stands around them: the tests start their own.
install_unstarted() { # PACKAGE…
    has apt-get || return 1
    local policy=/usr/sbin/policy-rc.d ours= done=1
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy"
    fi
    if apt_install postgresql-common; then
        as_root sed -ri 's/^#? *create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
        apt_install "$@" && done=0
    fi
    [ -z "$ours" ] || as_root rm -f "$policy"
    return $done
}

databases() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || has initdb && has pgbouncer && return
    install_unstarted postgresql pgbouncer
}

balancer() {
    has haproxy || [ -x /usr/sbin/haproxy ] || install_unstarted haproxy ||
        fail "the tests need haproxy: install it with your distribution's packages; it need not run"
}

cluster() {
    databases || fail "the tests need Postgres 15 or newer: install it with your distribution's packages; it need not run"
    local missing=()
    has patroni || missing+=(patroni)
    has etcd || missing+=(etcd-server)
    [ ${#missing[@]} = 0 ] || install_unstarted "${missing[@]}" ||
        fail "the tests of a cluster need ${missing[*]}: install them with your distribution's packages; they need not run"
    balancer
}

tests() {
    local missing=()
    has chromium || has google-chrome || missing+=(chromium)
    has chromedriver || missing+=(chromium-driver)
    has curl || missing+=(curl)
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}" || fail "the tests need ${missing[*]}: install them with your distribution's packages"
    databases || fail "the tests need Postgres 15 or newer and pgbouncer: install them with your distribution's packages; they need not run"
    balancer
    has systemd-nspawn || ! has systemctl || apt_install systemd-container || say "no systemd-nspawn: the unit of deploy/ is read, and not started"
}

lint() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
        rustup component add rustfmt clippy >&2 || fail "rustfmt and clippy are missing: rustup component add rustfmt clippy"
    has cargo-deny || { say "installing cargo-deny, which takes some minutes"; cargo install --locked cargo-deny >&2; }
    mkdir -p $tools
    python_tools lint.txt "a look at deploy/Containerfile"
}

fuzz() {
    local version=0.13.2
    [ "$(target/tools/bin/cargo-fuzz --version 2>/dev/null)" != "cargo-fuzz $version" ] || return 0
    has c++ || apt_install g++ || fail "a C++ compiler is missing (c++): install g++ or clang"
    say "installing cargo-fuzz $version, which takes a minute or two"
    cargo install --locked cargo-fuzz --version $version --root target/tools >&2
}

# Into the project's own folder, each with its version pinned, so that nothing of the system is touched. What cannot be had is said, and left to the
# tests to report: a language whose compiler is missing is skipped there by name.
tools=target/tools
stamp() { cat "$@" | cksum; }

python_tools() { # LIST WHAT-FOR: packages into a Python environment of our own
    local name=${1##*/} wanted=scripts/$1
    local installed=$tools/python/.$name list=$tools/$name
    [ "$(cat "$installed" 2>/dev/null)" = "$(stamp "$wanted")" ] && return
    has python3 || { [ "$purpose" = --languages ] && apt_install python3 python3-venv; } || { say "python3 is missing: no $2"; return; }
    say "installing what is needed for $2 into $tools/python"
    [ -x $tools/python/bin/pip ] || python3 -m venv $tools/python >&2 ||
        { say "python3 makes no venv (Debian: apt-get install python3-venv): no $2"; return; }
    # The digests of compilers are those of one platform; elsewhere the version alone is held to.
    case "$(uname -sm) $name" in
        "Linux x86_64 "* | *" python.txt") cp "$wanted" "$list" ;;
        *) sed 's/ --hash=.*//' "$wanted" > "$list" ;;
    esac
    if $tools/python/bin/pip install --quiet --disable-pip-version-check -r "$list" >&2; then
        stamp "$wanted" > "$installed"
    else
        say "pip could not install them: no $2"
    fi
}

node_tools() { # into node_modules of our own, as the lock file has them
    local what="JavaScript, TypeScript and AssemblyScript" wanted=(scripts/languages/package.json scripts/languages/package-lock.json)
    [ "$(cat $tools/node_modules/.installed 2>/dev/null)" = "$(stamp "${wanted[@]}")" ] && return
    has npm || { [ "$purpose" = --languages ] && apt_install nodejs npm; } || { say "npm is missing: no $what"; return; }
    say "installing what makes guards in $what into $tools/node_modules"
    cp "${wanted[@]}" $tools/
    if npm ci --prefix $tools --no-audit --no-fund --silent >&2; then
        stamp "${wanted[@]}" > $tools/node_modules/.installed
    else
        say "npm could not install them: no $what"
    fi
}

scripting() {
    mkdir -p $tools
    python_tools languages/python.txt "guards in Python"
    node_tools
}

languages() {
    scripting
    python_tools languages/requirements.txt "guards in C, C++, Zig, Nim and Go"
}

rust
if ! wasm_target; then
    why="no Rust with a WebAssembly target: run \"rustup target add wasm32-unknown-unknown\", or on Debian \"apt-get install rustc-web cargo-web rust-web-src lld\""
    case "$purpose" in --tests | --languages) fail "$why" ;; esac
    say "$why. All works without it but building guards in Rust"
fi
case "$purpose" in
    --tests) tests; scripting ;;
    --lint) lint ;;
    --fuzz) fuzz ;;
    --cluster) cluster ;;
    --languages) languages ;;
esac
