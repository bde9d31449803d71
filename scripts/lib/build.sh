# shellcheck shell=bash
# What is built, in one place, so that `up` and `test` use one tree: the release profile, the same packages, the same flags.

# The programs of a pool; `lode dev` looks for them beside itself.
readonly LODE_PROGRAM_PACKAGES=(
    lode-cli lode-worker lode-orchestrator lode-discovery lode-validator lode-gpu-proof lode-nvml-mock
)

build_programs() {
    local package arguments=()
    for package in "${LODE_PROGRAM_PACKAGES[@]}"; do
        arguments+=(-p "$package")
    done
    # Not quiet: a first build takes minutes, and cargo's lines are the progress.
    cargo_in_root build --release --locked "${arguments[@]}"
}

# cargo as the checkout's owner, in the root workspace, without moving the caller's current directory.
cargo_in_root() {
    (cd "$LODE_ROOT" && as_owner cargo "$@")
}
