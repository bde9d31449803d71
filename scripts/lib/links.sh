# shellcheck shell=bash
# What the client may not link: `lode` is what everybody installs who only speaks to a pool. What starts programs beside
# itself is lode-dev (docs/adr/0022-lode-dev-is-a-program-of-its-own.md).

# Transports to peers, stores, container engines, drivers, servers, and our own rooms that have them.
readonly LODE_NOT_IN_CLIENT='^(libp2p(-.*)?|multiaddr|redb|bollard(-.*)?|nvml-wrapper(-.*)?|axum(-.*)?|prometheus-client|rcgen|tracing-subscriber|lode-(network|store|program|gpu|gpu-proof|nvml-mock|testkit|e2e|dev|worker|orchestrator|validator|discovery)(-core)?)$'

# check_client_links ROOT: says what the client links and may not, and fails then.
check_client_links() {
    local root="$1" tree found bad=0
    tree="$(cd "$root" && as_owner cargo tree --quiet --locked -p lode-cli -e normal --prefix none --format '{p}')" ||
        fail "cargo tree says nothing about lode-cli"
    grep -q '^lode-cli ' <<<"$tree" || fail "the tree of lode-cli does not begin with it"
    while IFS= read -r found; do
        say "lode-cli links $found: the client may not (scripts/lib/links.sh)"
        bad=1
    done < <(awk '{ print $1 }' <<<"$tree" | sort -u | grep -E "$LODE_NOT_IN_CLIENT")
    return "$bad"
}
