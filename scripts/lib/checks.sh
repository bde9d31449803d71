# shellcheck shell=bash
# The checks that scripts/test and scripts/check share. Sourced after all.sh.


check_format() {
    check_main_files
    cargo_in_root fmt --all --check
    (cd "$LODE_ROOT/examples/images" && as_owner cargo fmt --check)
}

# One pass over everything. A program's unwrap is an error; a test's is a failed test: clippy.toml exempts functions of
# tests, and the root of a test program of tests/ says so itself for its helpers.
check_lints() { cargo_in_root clippy --release --locked --workspace --all-targets -- -D warnings; }

# No unused dependency, no licence that forbids giving the programs away, no second version without a reason, and no
# library that tests want with other features than the programs: whatever is above it would be built twice. Nothing in
# the client that belongs to programs.
check_dependencies() {
    local alone tested twice
    need_cargo_tools
    (cd "$LODE_ROOT" && as_owner env "PATH=$PATH" cargo-shear shear --locked --deny-warnings)
    (cd "$LODE_ROOT" && as_owner env "PATH=$PATH" cargo-deny --locked check -D unmatched-skip bans licenses sources)
    check_client_links "$LODE_ROOT"
    alone="$(features_of normal,build)"
    tested="$(features_of normal,build,dev)"
    grep -q '^lode-worker ' <<<"$alone" || fail "cargo tree does not list the programs"
    twice="$(comm -23 <(printf '%s\n' "$alone") <(printf '%s\n' "$tested"))"
    [ -z "$twice" ] || fail "built twice, with these features and again with those that the tests want: $twice" \
        "ask for the same features in a crate that is no test (crates/testkit/Cargo.toml does)"
}

# features_of EDGES: each crate of the workspace's tree, with its features.
features_of() {
    cargo_in_root tree --quiet --locked --workspace --edges "$1" --prefix none --no-dedupe --format '{p}|{f}' |
        sed 's/ (\*)$//' | sort -u
}

# Programs are built without a harness (test = false): nothing in their main file would be run.
check_main_files() {
    local file
    while IFS= read -r file; do
        if grep -qE '#\[(test|tokio::test|cfg\(test\))' "$LODE_ROOT/$file"; then
            fail "the tests in $file are never run" "move them into the library"
        fi
    done < <(cd "$LODE_ROOT" && find . -path ./target -prune -o \( -path '*/src/main.rs' -o -path '*/src/bin/*.rs' \) -print)
}

check_scripts() {
    local script scripts
    mapfile -t scripts < <(cd "$LODE_ROOT/scripts" && find lib/*.sh ../.ci/run . -maxdepth 1 -type f | sort -u)
    for script in "${scripts[@]}"; do
        bash -n "$LODE_ROOT/scripts/$script" || fail "$script is not valid bash"
    done
    have shellcheck || apt_install "checking the scripts" shellcheck
    (cd "$LODE_ROOT/scripts" && shellcheck --external-sources "${scripts[@]}")
    check_limits
}

# The table in CONTRIBUTING.md has the steps of scripts/test, by their names, with their limits.
check_limits() {
    local stated told
    stated="$(sed -nE -e 's/^ *step_within ([0-9]+) "([^"]+)".*/\2: \1 s/p' -e 's/^readonly whole=([0-9]+) .*/all of it: \1 s/p' \
        "$LODE_ROOT/scripts/test" | sort)"
    told="$(sed -nE 's/^\| ([^|]+) \|.*\| ([0-9,]+) s \|$/\1: \2 s/p' "$LODE_ROOT/CONTRIBUTING.md" |
        sed -E -e 's/`//g' -e 's/([0-9]),([0-9]{3} s)$/\1\2/' | sort)"
    grep -q '^all of it: ' <<<"$stated" || fail "scripts/test does not say how long all of it may take"
    grep -q '^tests: ' <<<"$stated" || fail "scripts/test has no steps with limits"
    diff --label "CONTRIBUTING.md" --label "scripts/test" -u <(printf '%s\n' "$told") <(printf '%s\n' "$stated") >&2 ||
        fail "CONTRIBUTING.md tells other steps or limits than scripts/test has" "correct the table"
}

# Link targets of a Markdown page, code blocks left out.
# shellcheck disable=SC2016 # backquotes of Markdown, not of the shell
links_of() { sed '/^```/,/^```/d' "$1" | { grep -oE '\]\([^) ]+\)' || true; } | sed -E 's/^\]\((.*)\)$/\1/'; }

# Links between pages must lead somewhere, and the commands a page names must exist.
check_links() {
    local page target folder broken=0
    while IFS= read -r page; do
        folder="$(dirname "$page")"
        while IFS= read -r target; do
            case "$target" in
                '' | '#'* | http://* | https://* | mailto:*) continue ;;
            esac
            if [ ! -e "$folder/${target%%#*}" ]; then
                say "$page links to $target, which does not exist"
                broken=1
            fi
        done < <(links_of "$page")
        while IFS= read -r target; do
            if [ ! -x "$LODE_ROOT/$target" ]; then
                say "$page names $target, which is no executable script"
                broken=1
            fi
        done < <(grep -oE '\bscripts/[a-z][a-z-]*\b' "$page" | grep -vE '^scripts/lib$' | sort -u)
    done < <(find "$LODE_ROOT" -name '*.md' -not -path '*/node_modules/*' -not -path '*/target/*' -not -path '*/.git/*')
    return "$broken"
}

check_docs() {
    check_links
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo_in_root doc --release --locked --no-deps --workspace --lib --quiet
}

check_abi_drift() { as_owner "$LODE_ROOT/scripts/abi" --check; }

test_contracts() { (cd "$LODE_ROOT/contracts" && as_owner "$LODE_FORGE" test); }

check_examples() {
    local target="$LODE_TARGET/example-images-checks"
    (cd "$LODE_ROOT/examples/images" && as_owner cargo clippy --release --locked --all-targets --target-dir "$target" -- -D warnings)
    (cd "$LODE_ROOT/examples/images" && as_owner cargo test --release --locked --quiet --lib --target-dir "$target")
}
