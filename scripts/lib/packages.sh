# shellcheck shell=bash
# Debian and Ubuntu packages: installed only where missing, never interactive, never at the price of a removal.

# apt_install WHY PACKAGE…
apt_install() {
    local why="$1" package missing=()
    shift
    if ! have dpkg-query || ! have apt-get; then
        fail "$why is missing, and this machine has no apt: only Debian and Ubuntu are set up automatically" \
            "install what corresponds to these Debian packages, then run this again: $*"
    fi
    for package in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ]; then
            missing+=("$package")
        fi
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    if ! can_be_root; then
        fail "$why needs packages that are not installed, and installing them needs root" \
            "as root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    say "installing for $why: ${missing[*]}"
    apt_begin_log
    # Package lists may be missing or stale: try with those there are, refresh them once if that does not do.
    apt_get install "${missing[@]}" || { apt_refresh && apt_get install "${missing[@]}"; } || {
        tail -n 20 "$apt_log" >&2
        fail "apt-get could not install ${missing[*]} (whole output: $apt_log)" \
            "apt-get update && apt-get install ${missing[*]}"
    }
}

# Root writes it: under a name that anybody can foresee, somebody else's link would be what is written to.
apt_log=""
apt_begin_log() {
    if [ -z "$apt_log" ]; then
        apt_log="$(mktemp "${TMPDIR:-/tmp}/lode-apt.XXXXXX")"
    fi
}

# --no-remove: a machine's own choice (docker-ce, another iptables) is never uninstalled for ours.
apt_get() {
    local verb="$1"
    shift
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -qq -y \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold --no-install-recommends --no-remove \
        "$verb" "$@" >>"$apt_log" 2>&1 </dev/null
}

apt_refresh() {
    say "refreshing the package lists"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update \
        >>"$apt_log" 2>&1 </dev/null
}

# What cargo and the scripts themselves need.
need_build_tools() {
    local packages=()
    have cc || packages+=(gcc libc6-dev)
    have git || packages+=(git)
    have curl || packages+=(curl)
    have pkg-config || packages+=(pkg-config)
    have make || packages+=(make)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
    if [ "${#packages[@]}" -gt 0 ]; then
        apt_install "building" "${packages[@]}"
    fi
    # Static example programs link libc.a, which only the development package has.
    if ! cc -static -x c -o /dev/null - <<<'int main(void){return 0;}' 2>/dev/null; then
        apt_install "linking static programs" libc6-dev
    fi
}

# Parts the tests run for real. Where one is missing the tests that need it fail: they are never skipped.
need_test_tools() {
    local packages=()
    have docker-registry || packages+=(docker-registry)
    have redis-server || packages+=(redis-server)
    have iptables || packages+=(iptables)
    have ip || packages+=(iproute2)
    [ -x /bin/busybox ] || packages+=(busybox-static)
    if [ -x /bin/busybox ] && ! have busybox; then packages+=(busybox-static); fi
    if [ "${#packages[@]}" -gt 0 ]; then
        apt_install "the tests on real parts" "${packages[@]}"
    fi
}
