# shellcheck shell=bash
# A lane: steps that run beside those of the script, at the lowest priority, so that they take only what the others
# leave. Its output goes to a file and is shown when the lane is joined, or when the script ends first.

LODE_LANES=() # "pid name folder", those that were started and not joined

# start_lane NAME FUNCTION…: the function runs steps of its own.
start_lane() {
    local name="$1" folder
    shift
    folder="$(mktemp -d "${TMPDIR:-/tmp}/lode-lane.XXXXXX")"
    say ""
    say "==> beside what follows: $name"
    # A process group of its own, so that all of it can be ended.
    set -m
    (run_lane "$folder" "$@") >"$folder/log" 2>&1 </dev/null &
    set +m
    LODE_LANES+=("$! $name $folder")
}

# In a shell of its own.
run_lane() {
    local folder="$1"
    shift
    set +m
    renice -n 19 -p "$BASHPID" >/dev/null 2>&1 || true
    ionice -c 3 -p "$BASHPID" >/dev/null 2>&1 || true
    LODE_LANES=()
    LODE_STEP_TIMES=()
    # shellcheck disable=SC2064 # the folder of now
    trap "say_failed_step || true; say_lane_times >'$folder/times'" EXIT
    "$@"
}

say_lane_times() {
    [ "${#LODE_STEP_TIMES[@]}" -eq 0 ] || printf '%s\n' "${LODE_STEP_TIMES[@]}"
}

# join_lanes: waits for all lanes, shows what they said, takes their times over; ends the script if one has failed.
join_lanes() {
    local lane pid name folder failed=""
    for lane in "${LODE_LANES[@]}"; do
        read -r pid name folder <<<"$lane"
        say ""
        say "==> beside: $name"
        wait "$pid" || failed="$failed $name"
        cat "$folder/log" >&2
        if [ -e "$folder/times" ]; then
            mapfile -t -O "${#LODE_STEP_TIMES[@]}" LODE_STEP_TIMES <"$folder/times"
        fi
        rm -rf "$folder"
    done
    LODE_LANES=()
    [ -z "$failed" ] || fail "failed beside the other steps:$failed"
}

# From an EXIT trap: ends what still runs and shows what it said.
end_lanes() {
    local lane pid name folder
    for lane in "${LODE_LANES[@]}"; do
        read -r pid name folder <<<"$lane"
        kill -TERM -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        say ""
        say "==> beside, until the end: $name"
        tail -n 60 "$folder/log" >&2 || true
        rm -rf "$folder"
    done
    LODE_LANES=()
}

# lanes_hold: ends the script if a lane has failed already.
lanes_hold() {
    local lane pid name folder
    for lane in "${LODE_LANES[@]}"; do
        read -r pid name folder <<<"$lane"
        if ! kill -0 "$pid" 2>/dev/null && ! wait "$pid"; then
            fail "failed beside the other steps: $name"
        fi
    done
}
