# shellcheck shell=bash
# The example images: static programs, each packed into an archive that `docker load`, `lode dev` and the tests take.

readonly LODE_EXAMPLE_PROGRAMS=(lode-example-batch lode-example-service)

# Writes target/images/NAME.tar and exports LODE_EXAMPLE_IMAGES, their folder. Docker is not involved.
build_example_images() {
    local triple flags_variable folder flags name
    triple="$(as_owner rustc -vV | sed -n 's/^host: //p')"
    folder="$LODE_ROOT/examples/images/target"
    if [ -n "${CARGO_TARGET_DIR:-}" ]; then
        folder="$LODE_TARGET/example-images"
    fi
    # Flags for this target alone, over a person's own RUSTFLAGS: those must not unlink libc. The path of the checkout
    # stays out of the programs, so the same sources give the same image anywhere.
    flags_variable="CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$triple")_RUSTFLAGS"
    flags="-C target-feature=+crt-static --remap-path-prefix=$LODE_ROOT=/lode"
    as_owner env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS "$flags_variable=$flags" \
        cargo build --quiet --release --locked --target "$triple" \
        --manifest-path "$LODE_ROOT/examples/images/Cargo.toml" --target-dir "$folder"
    as_owner mkdir -p "$LODE_TARGET/images"
    for name in "${LODE_EXAMPLE_PROGRAMS[@]}"; do
        as_owner "$folder/$triple/release/make-image" --program "$folder/$triple/release/$name" \
            --reference "$name:latest" --output "$LODE_TARGET/images/$name.tar"
    done
    export LODE_EXAMPLE_IMAGES="$LODE_TARGET/images"
}
