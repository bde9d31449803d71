# shellcheck shell=bash
# The contracts, compiled once for everything that asks what they compile to.

# compile_contracts: the sources alone and as a whole, unless the last time was of the same: the order of functions in the
# bytecode depends on which files the compiler sees together. They lie in contracts/out, where `forge test` finds them and
# compiles only the tests; what later builds must not touch is copied: out/abi for scripts/abi, out/slither for slither.
compile_contracts() {
    local folder="$LODE_ROOT/contracts" wanted name
    need_contracts_tools
    wanted="$(cd "$folder" && digest_of solidity foundry.toml package-lock.json tools/solc.js)"
    [ "$(cat "$folder/out/abi/stamp" 2>/dev/null || true)" = "$wanted" ] && return 0
    as_owner rm -rf "$folder/out" "$folder/cache"
    (cd "$folder" && as_owner "$LODE_FORGE" build solidity --force --quiet --build-info)
    as_owner mkdir -p "$folder/out/abi" "$folder/out/slither"
    as_owner cp -r "$folder/out/build-info" "$folder/out/slither/"
    for name in "$LODE_ROOT"/abi/*.json; do
        name="$(basename "$name" .json)"
        as_owner cp -r "$folder/out/$name.sol" "$folder/out/abi/"
    done
    printf '%s\n' "$wanted" | as_owner tee "$folder/out/abi/stamp" >/dev/null
}
