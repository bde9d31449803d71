# shellcheck shell=bash
# Analysers of the contracts that come from PyPI (slither, halmos), each pinned in contracts/tools/NAME.txt and installed
# into one virtual environment below target/.

readonly LODE_ANALYSERS="$LODE_TARGET/contract-tools"

# need_analyser NAME: installs it when its requirements changed since the last time.
need_analyser() {
    local name="$1" requirements stamp wanted
    requirements="$LODE_ROOT/contracts/tools/$name.txt"
    stamp="$LODE_ANALYSERS/.$name-installed"
    wanted="$(sha256sum "$requirements" | cut -d' ' -f1)"
    [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ] && [ -x "$LODE_ANALYSERS/bin/$name" ] && return 0
    need_venv "$LODE_ANALYSERS" "analysing the contracts"
    say "installing $name into ${LODE_ANALYSERS#"$LODE_ROOT/"}"
    as_owner "$LODE_ANALYSERS/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2 ||
        fail "pip could not install $name" "$LODE_ANALYSERS/bin/pip install --requirement $requirements"
    printf '%s\n' "$wanted" | as_owner tee "$stamp" >/dev/null
}

# need_venv FOLDER WHY: a virtual environment of Python.
need_venv() {
    have python3 || apt_install "$2" python3 python3-venv
    if [ ! -x "$1/bin/pip" ]; then
        as_owner python3 -m venv "$1" >&2 || {
            apt_install "$2" python3-venv
            as_owner python3 -m venv "$1" >&2
        }
    fi
}

# digest_of PATH…: one digest over the contents of all files below these paths.
digest_of() { find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1; }
