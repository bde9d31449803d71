# shellcheck shell=bash
# What every script shares: where the checkout is, messages, timed steps, root rights, the owner of the checkout.
# Sourced, never run. The caller has set `set -euo pipefail`.

# The checkout this script belongs to, whatever the current directory is.
LODE_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
LODE_TARGET="${CARGO_TARGET_DIR:-$LODE_ROOT/target}"
case "$LODE_TARGET" in
    /*) ;;
    *) LODE_TARGET="$PWD/$LODE_TARGET" ;; # cargo resolves a relative CARGO_TARGET_DIR against where it was called
esac
if [ -n "${CARGO_TARGET_DIR:-}" ]; then
    export CARGO_TARGET_DIR="$LODE_TARGET"
fi
readonly LODE_ROOT LODE_TARGET

# Minimal PATHs (cron, su) lack the directories where dockerd and iptables live.
case ":$PATH:" in
    *:/usr/sbin:*) ;;
    *) export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" ;;
esac

LODE_STEP_TIMES=()   # "seconds limit name", in order; the limit is - where there is none
LODE_STEP_CURRENT="" # the step that is running: named when the script fails
LODE_DID_FAIL=""

say() { printf '%s\n' "$*" >&2; }

# fail MESSAGE [REMEDY]: ends the script. The remedy is what the reader types or does next.
fail() {
    LODE_DID_FAIL=yes
    say ""
    say "error: $1"
    if [ -n "${2:-}" ]; then
        say "  try: $2"
    fi
    if [ -n "$LODE_STEP_CURRENT" ]; then
        say "  in step: $LODE_STEP_CURRENT"
    fi
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Seconds with one decimal between two values of EPOCHREALTIME (whose decimal sign follows the locale).
seconds_between() {
    local from="${1/[.,]/}" to="${2/[.,]/}"
    local tenths=$(((to - from + 50000) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# step NAME COMMAND…: runs the command in this shell, says how long it took, stops the script when it fails.
step() { step_within - "$@"; }

# step_within SECONDS NAME COMMAND…: the same, and says so loudly when it took longer than it is meant to.
step_within() {
    local limit="$1" name="$2" from="$EPOCHREALTIME" seconds
    shift 2
    LODE_STEP_CURRENT="$name"
    say ""
    say "==> $name"
    "$@"
    seconds="$(seconds_between "$from" "$EPOCHREALTIME")"
    LODE_STEP_TIMES+=("$seconds $limit $name")
    LODE_STEP_CURRENT=""
    say "    done in $seconds s"
    if is_beyond "$seconds" "$limit"; then
        say "    TOO SLOW: \"$name\" is meant to take $limit s at most (see CONTRIBUTING.md)"
    fi
}

# is_beyond SECONDS LIMIT
is_beyond() { [ "$2" != - ] && [ "${1%%.*}" -ge "$2" ]; }

# Called from an EXIT trap: `set -e` leaves a step silently, the reader wants its name.
say_failed_step() {
    local status=$?
    if [ "$status" -ne 0 ] && [ -n "$LODE_STEP_CURRENT" ] && [ -z "$LODE_DID_FAIL" ]; then
        say ""
        say "error: step \"$LODE_STEP_CURRENT\" failed (exit code $status)"
    fi
    return "$status"
}

say_step_times() {
    local entry seconds limit name
    say ""
    say "how long each step took, and may take:"
    for entry in "${LODE_STEP_TIMES[@]}"; do
        read -r seconds limit name <<<"$entry"
        if is_beyond "$seconds" "$limit"; then
            name="$name  <== TOO SLOW"
        fi
        [ "$limit" = - ] || limit="$limit s"
        printf '  %8s s  %7s  %s\n' "$seconds" "$limit" "$name" >&2
    done
}

# wait_until SECONDS COMMAND…: polls a condition until it holds; 1 when the deadline passes first.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            return 1
        fi
        sleep 0.2
    done
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Whether root rights can be had: now, by sudo without a question, or by a person at a terminal who types a password.
can_be_root() { is_root || { have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; }

as_root() {
    if is_root; then
        "$@"
    else
        sudo "$@"
    fi
}

# Under `sudo scripts/…` the checkout belongs to the person: what is built there must stay theirs, with their toolchain.
checkout_owner() {
    local owner
    owner="$(stat -c %U "$LODE_ROOT")"
    if is_root && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && [ "$owner" = "$SUDO_USER" ]; then
        printf '%s' "$owner"
    fi
}

# Runs a command as the checkout's owner: the same user except under sudo.
as_owner() {
    local owner variable kept=()
    owner="$(checkout_owner)"
    if [ -z "$owner" ]; then
        "$@"
        return
    fi
    # sudo clears the environment: carry what changes how the build behaves.
    for variable in CARGO_HOME RUSTUP_HOME CARGO_TARGET_DIR CARGO_INCREMENTAL CARGO_BUILD_JOBS CARGO_TERM_COLOR CARGO_NET_OFFLINE \
        RUSTFLAGS RUSTDOCFLAGS SSL_CERT_FILE NODE_EXTRA_CA_CERTS HTTP_PROXY HTTPS_PROXY NO_PROXY \
        http_proxy https_proxy no_proxy TERM; do
        if [ -n "${!variable:-}" ]; then
            kept+=("$variable=${!variable}")
        fi
    done
    sudo -u "$owner" -H env "PATH=$PATH" "${kept[@]}" "$@"
}
