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
