# shellcheck shell=bash
# What a core may not link, and the proof that both halves of the promise hold: Cargo's here, clippy's in clippy.toml.

# Crates that decide. What they link, they could call.
readonly LODE_CORES=(lode-orchestrator-core lode-worker-core lode-validator-core lode-discovery-core lode-protocol lode-chain-types)
# Folders of these crates, in the same order.
readonly LODE_CORE_FOLDERS=(orchestrator/core worker/core validator/core discovery/core crates/protocol crates/chain-types)
# Anywhere below a core: runtimes, sockets, engines, stores, logs, and our own rooms that have them.
readonly LODE_IMPURE='^(tokio(-.*)?|mio|async-std|smol|socket2|rustix|nix|alloy(-.*)?|libp2p(-.*)?|hyper(-.*)?|axum(-.*)?|reqwest|tower(-.*)?|rustls(-.*)?|bollard(-.*)?|redb|nvml-wrapper.*|tracing(-.*)?|log|tempfile|lode-(address|files|program|outbound|network|store|contracts|gpu|nvml-mock|testkit|e2e|cli|dev|worker|orchestrator|validator|discovery))$'
# Right below a core: randomness and clocks, which others may bring along for types of theirs. (jiff formats times for the
# protocol; its clocks are clippy's to forbid.)
readonly LODE_IMPURE_DIRECTLY='^(rand|rand_chacha|getrandom|fastrand|chrono|time|parking_lot)$'

# check_cores_link ROOT: says which core links what it may not, and fails then.
check_cores_link() {
    local root="$1" core tree direct found bad=0
    for core in "${LODE_CORES[@]}"; do
        tree="$(cd "$root" && as_owner cargo tree --quiet --locked -p "$core" -e normal --prefix none --format '{p}')" ||
            fail "cargo tree says nothing about $core"
        direct="$(cd "$root" && as_owner cargo tree --quiet --locked -p "$core" -e normal --prefix none --format '{p}' --depth 1)"
        grep -q "^$core " <<<"$tree" || fail "the tree of $core does not begin with it"
        while IFS= read -r found; do
            say "$core links $found: a core may not (scripts/lib/purity.sh)"
            bad=1
        done < <(
            awk '{ print $1 }' <<<"$tree" | sort -u | grep -xv "$core" | grep -E "$LODE_IMPURE"
            awk 'NR > 1 { print $1 }' <<<"$direct" | sort -u | grep -E "$LODE_IMPURE_DIRECTLY"
        )
    done
    return "$bad"
}

# check_cores_promise: every one of them denies clippy's lints.
check_cores_promise() {
    local folder lints bad=0
    for folder in "${LODE_CORE_FOLDERS[@]}"; do
        for lints in 'clippy::disallowed_methods, clippy::disallowed_types' \
            'clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro'; do
            grep -q "^#!\[cfg_attr(not(test), deny($lints))\]" "$LODE_ROOT/$folder/src/lib.rs" || {
                say "$folder/src/lib.rs does not deny $lints"
                bad=1
            }
        done
    done
    return "$bad"
}

check_purity() {
    check_cores_promise
    check_cores_link "$LODE_ROOT"
}

# planted_clippy ROOT CRATE… -- FLAG…
planted_clippy() {
    local root="$1" packages=()
    shift
    while [ "$1" != -- ]; do
        packages+=("--package=$1")
        shift
    done
    (cd "$root" && as_owner env "CARGO_TARGET_DIR=$LODE_TARGET" cargo clippy --release --locked --color never --lib \
        "${packages[@]}" "$@" 2>&1)
}

# A clock, an iteration over a HashMap, threads, a look at a file, a static and a print in every core of a copy of this
# checkout, and a runtime among the dependencies of one, and a container engine among those of the client: each must be
# found, by name and place. A check that finds nothing is no check.
prove_purity() (
    local copy folder wanted said said_of_links said_of_client failed=0
    copy="$(as_owner mktemp -d "${TMPDIR:-/tmp}/lode-purity.XXXXXX")"
    trap 'rm -rf "$copy"' EXIT
    (cd "$LODE_ROOT" && git ls-files -z --cached --others --exclude-standard | { grep -zvE '^(contracts/(test|snapshots)|fuzz)/' || true; } |
        xargs -0 ls -d 2>/dev/null | tar --create --files-from=- --file=-) | as_owner tar --extract --directory="$copy"
    for folder in "${LODE_CORE_FOLDERS[@]}"; do
        as_owner tee -a "$copy/$folder/src/lib.rs" >/dev/null <<'RUST'

/// Planted by scripts/purity.
#[doc(hidden)]
pub static PLANTED: std::sync::OnceLock<u8> = std::sync::OnceLock::new();

/// Planted by scripts/purity.
#[doc(hidden)]
pub fn planted() -> usize {
    let clock = std::time::Instant::now();
    let map: std::collections::HashMap<u8, std::time::Instant> = [(1, clock)].into();
    let first = map.keys().next().copied();
    drop(std::thread::spawn(|| ()));
    drop(std::thread::Builder::new().spawn(|| ()));
    println!("{}", std::path::Path::new("/").exists());
    usize::from(first.unwrap_or_default())
}
RUST
    done
    # First as warnings: a crate that fails would keep those above it from being looked at. Then as they are.
    said="$(planted_clippy "$copy" "${LODE_CORES[@]}" -- --cap-lints warn)" || failed=1
    if planted_clippy "$copy" lode-protocol -- >/dev/null; then
        say "clippy succeeds in spite of what was planted"
        failed=1
    fi
    for folder in "${LODE_CORE_FOLDERS[@]}"; do
        for wanted in "disallowed method \`std::time::Instant::now\`" "disallowed type \`std::collections::HashMap\`" \
            "disallowed method \`std::thread::spawn\`" "disallowed method \`std::thread::Builder::spawn\`" \
            "disallowed method \`std::path::Path::exists\`" "disallowed type \`std::sync::OnceLock\`" "use of \`println!\`"; do
            awk -v what="$wanted" -v where="$folder/src/lib.rs:" '
                index($0, what) { told = NR } told && NR == told + 1 && index($0, where) { found = 1 } END { exit !found }' <<<"$said" || {
                say "not found in $folder: $wanted"
                failed=1
            }
        done
    done
    as_owner sed -i 's/^\[dependencies\]$/[dependencies]\ntokio.workspace = true\nrand.workspace = true/' "$copy/worker/core/Cargo.toml"
    as_owner sed -i 's/^\[dependencies\]$/[dependencies]\nbollard.workspace = true/' "$copy/cli/Cargo.toml"
    said_of_links="$(cd "$copy" && as_owner cargo update --quiet --offline --workspace && check_cores_link "$copy" 2>&1)" && failed=1
    for wanted in "lode-worker-core links tokio:" "lode-worker-core links rand:"; do
        grep -qF "$wanted" <<<"$said_of_links" || {
            say "it was not found that: $wanted"
            failed=1
        }
    done
    said_of_client="$(check_client_links "$copy" 2>&1)" && failed=1
    grep -qF "lode-cli links bollard:" <<<"$said_of_client" || {
        say "it was not found that lode-cli links bollard"
        failed=1
    }
    if [ "$failed" -ne 0 ]; then
        tail -n 40 <<<"$said" >&2
        fail "a planted impurity was not found"
    fi
    say "planted in ${#LODE_CORE_FOLDERS[@]} crates and found in all: a clock, a HashMap, threads, a look at a file, a static, a print; and a runtime among the dependencies; in the client, an engine"
)
