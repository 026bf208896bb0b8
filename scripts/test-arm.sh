#!/usr/bin/env bash
# Builds Filoscope for ARM and runs it on emulated CPUs: the Swift tests, a whole job through the daemon and the client, and
# the kernels' instruction counts.
#
# usage: test-arm.sh [tests] [frames] [abilities] [counts]     (without an argument: all)
#
# Exit status 69 and "toolchain unavailable: REASON": nothing was tested. That is not a pass; see cross.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

sysroot=$(scripts/cross.sh path sysroot)
release=$(scripts/cross.sh path release)
tests=$(scripts/cross.sh path tests)
native=${FILOSCOPE_BIN:-.build/release}
tools=$(scripts/cross.sh path tools)
work=$(mktemp -d)
daemon=
finish() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# A CPU and the level it must choose: the best that it can run. An instruction that it lacks ends the process.
cpus=(max,pauth-impdef=on:i8mm cortex-a76:dotprod cortex-a72:neon)
# A CPU and a level that it has not got.
refused=(cortex-a76:i8mm cortex-a72:i8mm cortex-a72:dotprod)

# on CPU PROGRAM ARGUMENTS...
on() {
    local emulator
    emulated "$1"
    "${emulator[@]}" "${@:2}"
}

# emulated CPU: sets the caller's `emulator` to the command in front of a program. A CPU may have a page size: cortex-a76/16384.
emulated() {
    emulator=("$tools/lib64/ld-linux-x86-64.so.2" --library-path "$tools/usr/lib/x86_64-linux-gnu" "$tools/usr/bin/qemu-aarch64"
        -cpu "${1%/*}" -L "$sysroot" -E LD_LIBRARY_PATH=/usr/libexec/swift/lib/swift/linux -E FILOSCOPE_EMULATED=1 -E FILOSCOPE_SLOW=1)
    case $1 in */*) emulator+=(-p "${1#*/}") ;; esac
}

swift_tests() {
    local pair cpu level bundle=$tests/filoscopePackageTests.xctest started
    scripts/cross.sh tests
    for pair in "${cpus[@]}"; do
        cpu=${pair%:*} level=${pair##*:} started=$SECONDS
        FILOSCOPE_EXPECTED_KERNELS=$level on "$cpu" "$bundle" --testing-library swift-testing >"$work/log" 2>&1 &&
            grep -q 'Test run with [0-9]* tests.* passed' "$work/log" ||
            { tail -n 40 "$work/log"; grep -A 3 '^✘.*recorded an issue' "$work/log"; fail "Swift tests on $cpu"; }
        grep -q 'choosesWhatThisCPUIsKnownToHave() passed' "$work/log" || fail "no test asked $cpu for its level"
        echo "$cpu, $level: $(grep -o 'Test run with .*' "$work/log"), in $((SECONDS - started)) s"
    done
}

# The programs for ARM and for this machine.
programs() {
    scripts/cross.sh release
    [ -n "${FILOSCOPE_BIN:-}" ] || swift build -c release --static-swift-stdlib
}

# start CPU LEVEL STATE: a daemon on that CPU, which answers. Sets the caller's `emulator` and `build` to what a client on that CPU takes.
start() {
    emulator=() build=$native
    if [ -n "$1" ]; then
        emulated "$1"
        build=$release
    fi
    rm -f "$work/socket"
    # No flags: with large pages the emulator hides them from Swift, which looks for them in its map of the stack.
    FILOSCOPE_KERNELS=$2 FILOSCOPE_LISTEN=$work/socket FILOSCOPE_STATE=$3 FILOSCOPE_MODELS=Models \
        FILOSCOPE_THREADS=2 "${emulator[@]}" "$build/filoscoped" >"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 600); do
        curl -sf --unix-socket "$work/socket" http://filoscope/readyz >/dev/null && break
        kill -0 "$daemon" 2>/dev/null || { cat "$work/daemon.log" >&2; fail "filoscoped ended on ${1:-this machine}"; }
        sleep 0.1
    done
    # A client needs no pages of another size.
    if [ -n "$1" ]; then emulated "${1%/*}"; fi
}

# stop CPU: ends that daemon, which has to end well.
stop() {
    kill "$daemon"
    wait "$daemon" || fail "filoscoped did not end well on ${1:-this machine}"
    daemon=
}

# job CPU LEVEL: the sum of the frames of a small job, made by a daemon on that CPU with that level forced ("" forces none), asked
# for by a client on that CPU. An empty CPU is this machine. All daemons share one state folder: who comes later reads what a
# daemon of another architecture wrote. Sets `sum`, and `used` to the level that the daemon says it uses.
job() {
    local emulator build
    start "$1" "$2" "$work/state"
    used=$(curl -sf --max-time 30 --unix-socket "$work/socket" http://filoscope/state |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["host"]["kernels"])')
    "${emulator[@]}" "$build/filoscope" generate "a penguin moving right in the ocean" --socket "$work/socket" --seed 7 --size 64x64 \
        --seconds 0.6 --steps 2 --json -o "$work/video.mp4" >"$work/video.json" 2>"$work/client.log" ||
        { cat "$work/client.log" "$work/daemon.log" >&2; fail "the job on ${1:-this machine}, level '$2'"; }
    stop "$1"
    sum=$(python3 -c 'import json, sys
video = json.load(open(sys.argv[1]))
assert video["status"] == "completed" and video["frames"] == 5, video
print(video["frames_sha256"])' "$work/video.json")
}

same_frames() {
    local pair cpu level levels expected sum used started
    programs
    job "" ""
    expected=$sum
    echo "this machine, $used: $expected"
    for pair in "${cpus[@]}"; do
        cpu=${pair%:*} started=$SECONDS
        levels=$(on "$cpu" "$release/filoscope-bench" levels) || fail "filoscope-bench ended with $? on $cpu"
        # What the daemon chooses by itself, then every other level of this CPU.
        for level in "" $(grep -vx "${pair##*:}" <<<"$levels"); do
            job "$cpu" "$level"
            [ "$used" = "${level:-${pair##*:}}" ] || fail "the daemon on $cpu uses $used, expected ${level:-${pair##*:}}"
            [ "$sum" = "$expected" ] || fail "other frames on $cpu, level $used: $sum"
            echo "$cpu, $used${level:+ (forced)}: $sum, after $((SECONDS - started)) s"
        done
    done
    # A Raspberry Pi 5 has pages of 16 KiB; 64 KiB is the most that ARM has.
    for cpu in cortex-a76/16384 cortex-a76/65536; do
        job "$cpu" ""
        [ "$sum" = "$expected" ] || fail "other frames with pages of ${cpu#*/} bytes: $sum"
        echo "pages of ${cpu#*/} bytes: $sum"
    done
    for pair in "${refused[@]}"; do
        cpu=${pair%:*} level=${pair##*:}
        if FILOSCOPE_KERNELS=$level on "$cpu" "$release/filoscoped" --listen "$work/socket" --state "$work/state" \
            --models Models >"$work/daemon.log" 2>&1; then
            fail "a daemon starts with level $level forced on $cpu"
        fi
        grep -q "can't run '$level'" "$work/daemon.log" || { cat "$work/daemon.log"; fail "$level is refused without a reason"; }
        echo "$cpu: $(grep -o "this CPU can't run.*" "$work/daemon.log" | head -n 1)"
    done
}

# Every ability, asked for by this machine's client: of a daemon on this machine, then of one on an emulated CPU.
same_abilities() {
    local cpu emulator build started
    programs
    for cpu in "" cortex-a76; do
        started=$SECONDS
        start "$cpu" "" "$work/state-$cpu"
        python3 Tests/EndToEndTests/every_ability.py "$native/filoscope" "$work/socket" >"$work/sums-$cpu" ||
            { cat "$work/daemon.log" >&2; fail "an ability on ${cpu:-this machine}"; }
        stop "$cpu"
        echo "${cpu:-this machine}: $(wc -l <"$work/sums-$cpu") videos, in $((SECONDS - started)) s"
    done
    cat "$work/sums-"
    diff "$work/sums-" "$work/sums-cortex-a76" || fail "other frames on cortex-a76"
}

# The toolchain first: without it there is nothing to say of any part.
scripts/cross.sh setup
[ $# -gt 0 ] || set -- frames abilities tests counts
for part in "$@"; do
    started=$SECONDS
    echo "── ARM: $part"
    case $part in
    tests) swift_tests ;;
    frames) same_frames ;;
    abilities) same_abilities ;;
    counts) python3 Tests/InstructionCounts/counts.py ;;
    *) fail "unknown part $part (tests, frames, abilities, counts)" ;;
    esac
    echo "── ARM: $part took $((SECONDS - started)) s"
done
