# shellcheck shell=bash
# Node, npm and the contract tools that come from npm (anvil, forge, solc, OpenZeppelin).

readonly LODE_NODE_MAJOR=18 # what Debian 12 has; the tools below run on it

node_is_new_enough() {
    local version
    have node && have npm || return 1
    version="$(node --version 2>/dev/null)" || return 1
    version="${version#v}"
    [ "${version%%.*}" -ge "$LODE_NODE_MAJOR" ]
}

need_node() {
    if node_is_new_enough; then
        return 0
    fi
    if ! have node || ! have npm; then
        apt_install "the chain's tools" nodejs npm
    fi
    node_is_new_enough || fail "Node $(node --version 2>/dev/null || echo '(none)') is too old: the chain's tools need $LODE_NODE_MAJOR" \
        "install Node $LODE_NODE_MAJOR or newer (nodesource, nvm, or a newer distribution), then run this again"
}

# Installs contracts/node_modules when the lock file changed since the last time; exports LODE_ANVIL and LODE_FORGE,
# the native programs (the npm wrappers are Node processes: killing one would leave the real program running).
need_contracts_tools() {
    local folder="$LODE_ROOT/contracts" stamp wanted flags=()
    need_node # solc is a Node program
    stamp="$folder/node_modules/.lode-installed"
    wanted="$(sha256sum "$folder/package-lock.json" | cut -d' ' -f1) $(uname -m)"
    if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
        say "installing anvil, forge, solc and OpenZeppelin into contracts/node_modules"
        # The native programs ask for Node 20 and never run in it, so Node 18 will do. They are x86-64's: npm refuses
        # them elsewhere unless forced, and native_tool then finds the machine's own.
        flags=(--ignore-scripts --engine-strict=false --no-fund --no-audit --no-progress --loglevel=error)
        [ "$(uname -m)" = x86_64 ] || flags+=(--force)
        as_owner npm --prefix "$folder" ci "${flags[@]}" >&2 </dev/null ||
            fail "npm could not install the contract tools" "cd contracts && npm ci"
        printf '%s\n' "$wanted" | as_owner tee "$stamp" >/dev/null
    fi
    native_tool anvil && LODE_ANVIL="$LODE_FOUND_PROGRAM"
    native_tool forge && LODE_FORGE="$LODE_FOUND_PROGRAM"
    export LODE_ANVIL LODE_FORGE
}

# Only a chain to run, no contracts to build: an anvil of the machine's own will do.
need_anvil() {
    if have anvil; then
        LODE_ANVIL="$(command -v anvil)"
        export LODE_ANVIL
        return 0
    fi
    need_contracts_tools
}

# Sets LODE_FOUND_PROGRAM to the program's path, or ends the script.
native_tool() {
    local tool="$1" candidate
    for candidate in "$LODE_ROOT/contracts/node_modules/@foundry-rs/$tool-linux-"*"/bin/$tool"; do
        if [ -x "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
            LODE_FOUND_PROGRAM="$candidate"
            return 0
        fi
    done
    # npm carries them for x86-64 only here; a Foundry of the machine's own serves other processors.
    candidate="$(command -v "$tool" || true)"
    if [ -n "$candidate" ] && [[ "$candidate" != */node_modules/* ]]; then
        LODE_FOUND_PROGRAM="$candidate"
        return 0
    fi
    fail "there is no $tool that runs on this machine ($(uname -sm)), neither in contracts/node_modules nor on PATH" \
        "install Foundry so that $tool is on PATH, then run this again"
}
