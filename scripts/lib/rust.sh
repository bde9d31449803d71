# shellcheck shell=bash
# Rust: found where rustup puts it, checked against the version the workspace asks for. Never installed behind
# the reader's back: a toolchain is theirs to choose.

# find_rust: where PATH has no cargo, that of rustup is put there, if there is one.
find_rust() {
    local home
    have cargo && return
    home="${HOME:-/nonexistent}"
    if is_root && [ -n "${SUDO_USER:-}" ]; then
        home="$(getent passwd "$SUDO_USER" | cut -d: -f6)"
    fi
    if [ -x "$home/.cargo/bin/cargo" ]; then
        export PATH="$home/.cargo/bin:$PATH"
        export CARGO_HOME="${CARGO_HOME:-$home/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
    fi
}

# need_rust [COMPONENT…], for example: need_rust rustfmt clippy
need_rust() {
    local wanted found component
    find_rust
    have cargo || fail "Rust is missing: neither PATH nor ~/.cargo/bin has cargo" \
        "curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y --profile default, then run this again"
    wanted="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$LODE_ROOT/Cargo.toml" | head -n 1)"
    found="$(as_owner rustc --version | cut -d' ' -f2)"
    if [ "$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" != "$wanted" ]; then
        fail "Rust $found is too old: this workspace needs $wanted or newer" "rustup update stable"
    fi
    for component in "$@"; do
        if [ -n "$(cargo_component_version "$component")" ]; then
            continue
        fi
        have rustup || fail "cargo has no $component" "install your distribution's $component for Rust $found"
        say "adding the Rust component $component"
        as_owner rustup component add "$component" >/dev/null 2>&1 ||
            fail "rustup could not add $component" "rustup component add $component"
    done
}

cargo_component_version() {
    case "$1" in
        rustfmt) as_owner cargo fmt --version 2>/dev/null || true ;;
        clippy) as_owner cargo clippy --version 2>/dev/null || true ;;
        *) fail "need_rust: unknown component $1" ;;
    esac
}
