# shellcheck shell=bash
# What is built, in one place, so that `up` and `test` use one tree: the release profile, the same packages, the same flags.

# The whole workspace, not the programs alone: cargo unifies features over what is selected, and another selection would
# compile the largest libraries a second time for the tests.
build_programs() {
    # Not quiet: a first build takes minutes, and cargo's lines are the progress.
    cargo_in_root build --release --locked --workspace
}

# cargo as the checkout's owner, in the root workspace, without moving the caller's current directory.
cargo_in_root() {
    (cd "$LODE_ROOT" && as_owner cargo "$@")
}

# A tree that scripts/test begins from nothing is not worth the bookkeeping of incremental builds. What was begun without
# goes on without, in all scripts: the two do not share their files. (Remove the mark to build incrementally again.)
begin_without_incremental() {
    if [ ! -d "$LODE_TARGET/release/deps" ]; then
        as_owner mkdir -p "$LODE_TARGET/release"
        as_owner touch "$LODE_TARGET/release/.lode-not-incremental"
    fi
    go_on_as_begun
}

go_on_as_begun() {
    if [ -z "${CARGO_INCREMENTAL:-}" ] && [ -e "$LODE_TARGET/release/.lode-not-incremental" ]; then
        export CARGO_INCREMENTAL=0
    fi
}
