# shellcheck shell=bash
# The Docker engine: installed where missing, started where none answers, reported by its own version
# (the client's says nothing about it). A daemon that runs already is never restarted or reconfigured.

readonly LODE_DOCKER_API_MINIMUM=41 # 1.41 = engine 20.10
LODE_DOCKER_SOCKET=/var/run/docker.sock
if [ -n "${DOCKER_HOST:-}" ]; then
    LODE_DOCKER_SOCKET="${DOCKER_HOST#unix://}"
fi

# The engine's answer to GET /version as this user; fails when there is none.
engine_version() {
    curl -fsS --max-time 5 --unix-socket "$LODE_DOCKER_SOCKET" http://localhost/version 2>/dev/null
}
engine_version_as_root() {
    as_root curl -fsS --max-time 5 --unix-socket "$LODE_DOCKER_SOCKET" http://localhost/version 2>/dev/null
}

engine_answers() { engine_version >/dev/null; }
engine_answers_root() { engine_version_as_root >/dev/null; }

need_docker_engine() {
    have curl || apt_install "asking the Docker engine" curl
    if ! engine_answers; then
        start_docker_engine
    fi
    report_docker_engine
}

start_docker_engine() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        fail "DOCKER_HOST is $DOCKER_HOST and no Docker engine answers there" \
            "start that engine, or unset DOCKER_HOST to use the one of this machine (only unix:// is supported)"
    fi
    if ! can_be_root; then
        if [ -S "$LODE_DOCKER_SOCKET" ] && [ ! -w "$LODE_DOCKER_SOCKET" ]; then
            fail "a Docker engine is there, but $(id -un) may not use it" \
                "as root: usermod -aG docker $(id -un), then log in again"
        fi
        fail "no Docker engine answers at $LODE_DOCKER_SOCKET, and starting one needs root" \
            "as root: apt-get install -y docker.io && service docker start && usermod -aG docker $(id -un)"
    fi
    # It may run and merely not be ours to talk to: as_docker_user finds a way then.
    if [ -S "$LODE_DOCKER_SOCKET" ] && engine_answers_root; then
        return 0
    fi
    have dockerd || apt_install "the Docker engine" docker.io
    have iptables || apt_install "the Docker engine" iptables
    if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null || true)" = Y ] && ! have apparmor_parser; then
        apt_install "the Docker engine under AppArmor" apparmor
    fi
    # Installing it starts it on a machine with an init system.
    if has_systemd; then
        say "starting the Docker engine (systemctl start docker)"
        as_root systemctl start docker >&2 || true
        wait_until 60 engine_answers_root || fail "systemd started docker, but the engine does not answer" \
            "journalctl -u docker -n 50"
        return 0
    fi
    start_docker_by_hand
}

has_systemd() { [ -d /run/systemd/system ] && have systemctl; }

# Without an init system (containers, small virtual machines). Each try adds what a poorer kernel cannot do without.
start_docker_by_hand() {
    local log=/var/log/dockerd.log flags
    mount_cgroups
    as_root rm -f /var/run/docker.pid.lode
    for flags in "" "--iptables=false --ip6tables=false" "--iptables=false --ip6tables=false --storage-driver=vfs"; do
        say "starting the Docker engine by hand: dockerd${flags:+ }$flags (log: $log)"
        # setsid: it must outlive this script and its terminal. The flags are words, so they stay unquoted inside.
        as_root sh -c "setsid nohup dockerd $flags >>$log 2>&1 </dev/null & echo \$! >/var/run/docker.pid.lode"
        if wait_until 60 engine_answers_or_died && engine_answers_root; then
            return 0
        fi
    done
    as_root tail -n 15 "$log" >&2 || true
    fail "the Docker engine did not start (log: $log)" "run dockerd as root and read its last lines"
}

# setsid forks or not depending on its caller: ask for the daemon by its own pid file first, by ours at the start.
engine_answers_or_died() {
    local pid
    if engine_answers_root; then
        return 0
    fi
    pid="$(cat /var/run/docker.pid.lode 2>/dev/null || true)"
    [ -n "$pid" ] && ! as_root kill -0 "$pid" 2>/dev/null
}

# A daemon without systemd needs the control groups mounted by someone: they are not in a chroot or a bare machine.
mount_cgroups() {
    local hierarchies controllers
    if control_groups_are_mounted; then
        return 0
    fi
    say "mounting the control groups"
    mountpoint -q /sys || as_root mount -t sysfs sysfs /sys
    # Version 1 where the kernel's controllers are bound to it (hierarchy not 0), version 2 otherwise.
    hierarchies="$(awk '!/^#/ && $2 != 0 && $4 == 1 { of[$2] = of[$2] (of[$2] ? "," : "") $1 }
        END { for (h in of) print of[h] }' /proc/cgroups 2>/dev/null || true)"
    if [ -z "$hierarchies" ]; then
        as_root mount -t cgroup2 cgroup2 /sys/fs/cgroup || true
    else
        mountpoint -q /sys/fs/cgroup || as_root mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
        for controllers in $hierarchies; do # controllers of one hierarchy are mounted together or not at all
            as_root mkdir -p "/sys/fs/cgroup/$controllers"
            as_root mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers" || true
        done
    fi
    control_groups_are_mounted || fail "the control groups could not be mounted, and containers need them" \
        "as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
}

control_groups_are_mounted() {
    awk '$3 == "cgroup2" && $2 == "/sys/fs/cgroup" { found = 1 }
        $3 == "cgroup" && $4 ~ /(^|,)devices(,|$)/ { found = 1 }
        END { exit !found }' /proc/mounts
}

report_docker_engine() {
    local version engine api
    version="$(engine_version || engine_version_as_root)" ||
        fail "the Docker engine stopped answering at $LODE_DOCKER_SOCKET" "docker version"
    engine="$(sed -n 's/.*"Version":"\([^"]*\)","ApiVersion".*/\1/p' <<<"$version")"
    api="$(sed -n 's/.*"ApiVersion":"1\.\([0-9]*\)","MinAPIVersion".*/\1/p' <<<"$version")"
    say "Docker engine ${engine:-of unknown version}, API 1.${api:-?}, at $LODE_DOCKER_SOCKET"
    if [ -n "$api" ] && [ "$api" -lt "$LODE_DOCKER_API_MINIMUM" ]; then
        fail "this Docker engine is too old: API 1.$LODE_DOCKER_API_MINIMUM (engine 20.10) is the oldest that works" \
            "install your distribution's current docker.io, or Docker's own docker-ce"
    fi
}

# Runs a command that talks to the engine: as this user where the socket allows it, otherwise as this user with
# the socket's group for this one command (needs sudo; nobody's group membership is changed).
as_docker_user() {
    if may_use_docker; then
        "$@"
    else
        borrow_docker_group "$@"
    fi
}

# The same in place of this script.
exec_as_docker_user() {
    if may_use_docker; then
        exec "$@"
    fi
    borrow_docker_group "$@"
    exit
}

may_use_docker() { is_root || [ -w "$LODE_DOCKER_SOCKET" ]; }

borrow_docker_group() {
    local group
    group="$(stat -c %G "$LODE_DOCKER_SOCKET")"
    can_be_root || fail "$(id -un) may not use the Docker engine at $LODE_DOCKER_SOCKET" \
        "as root: usermod -aG $group $(id -un), then log in again"
    say "borrowing the group $group for this run (to make it lasting: sudo usermod -aG $group $(id -un))"
    sudo --preserve-env -u "$(id -un)" -g "$group" env "PATH=$PATH" "HOME=$HOME" "$@"
}
