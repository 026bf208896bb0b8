#!/usr/bin/env bash
# Everything that must hold before a change lands; prints the minutes of each stage.
set -euo pipefail
cd "$(dirname "$0")/.."

stages=() not_passed=() current='the start'

# What failed is said once more at the very end, where it is seen: the tests around it are thousands of lines.
log=$(mktemp)
exec 3>&1
exec > >(tee "$log") 2>&1
tee=$!
ended() {
    local status=$?
    exec >&3 2>&1
    timeout 10 tail --pid="$tee" -f /dev/null || true
    if [ "$status" -ne 0 ]; then
        echo "!! FAILED: $current"
        grep -aE 'recorded an issue|: error:|^(FAILED|ERROR) |SUMMARY: |Fatal error|Killed' "$log" | tail -40
    fi
    rm -f "$log"
    exit "$status"
}
trap ended EXIT

stage() {
    local name=$1 started=$SECONDS
    current=$name
    shift
    echo "── $name"
    "$@"
    local seconds=$((SECONDS - started))
    stages+=("$(printf '%3d:%02d  %s' $((seconds / 60)) $((seconds % 60)) "$name")")
}

python_environment() {
    [ -x .venv-test/bin/pytest ] && .venv-test/bin/python -c 'import numpy, safetensors, PIL' 2>/dev/null && return
    python3 -m venv .venv-test
    .venv-test/bin/pip install --quiet numpy safetensors pytest pillow
}

units() {
    local folder output
    folder=$(mktemp -d)
    cp systemd/*.s* "$folder"
    # verify wants the program to exist; the unit is checked, not this machine.
    sed -i 's#^ExecStart=/usr/bin/filoscoped#ExecStart=/bin/true#; /^Documentation=/d' "$folder"/filoscope*.s*
    # With what the documentation has people add for devices.
    mkdir "$folder/filoscoped.service.d"
    awk '/^```ini/ { on = 1; next } /^```/ { on = 0 } on' docs/configuration.md >"$folder/filoscoped.service.d/devices.conf"
    [ "$(grep -c '^DeviceAllow=/dev/video. rw$' "$folder/filoscoped.service.d/devices.conf")" = 2 ]
    output=$(cd "$folder" && systemd-analyze verify ./filoscope*.service ./filoscope*.socket 2>&1) || true
    rm -rf "$folder"
    [ -z "$output" ] || { echo "$output"; return 1; }
    systemd-analyze security --offline=true --threshold=10 systemd/filoscoped.service | tail -1
    systemd-analyze security --offline=true --threshold=10 systemd/filoscope-kiosk.service | tail -1
}

sanitized() { # SANITIZER FILTER
    # What XCTest leaks at its own start is not ours.
    FILOSCOPE_SLOW=1 LSAN_OPTIONS="suppressions=$PWD/Tests/lsan.suppressions" \
        TSAN_OPTIONS="suppressions=$PWD/Tests/tsan.suppressions" \
        swift test --sanitize="$1" --scratch-path ".build-$1" --filter "$2"
}

# The cross toolchain comes from a mirror that may be away, and from a Debian that moves. Its absence says nothing of a change,
# so it does not turn this red unless FILOSCOPE_REQUIRE_ARM=1 asks (`make test-arm` always does); nor is it a pass.
toolchain=0
toolchain() {
    scripts/cross.sh setup || toolchain=$?
    [ "$toolchain" -eq 0 ] || { [ "$toolchain" -eq 69 ] && [ "${FILOSCOPE_REQUIRE_ARM:-0}" = 0 ]; }
}

stage 'lint' scripts/lint.sh
stage 'systemd units' units
stage 'kernels on x86-64 and emulated ARM' Tests/CKernelsTests/run.sh
stage 'python environment' python_environment
stage 'quantization' .venv-test/bin/pytest -q Quantization/tests
stage 'build tests' swift build --build-tests
# One at a time: side by side, those that compute keep the threads that those with deadlines wait for.
stage 'unit tests' swift test --skip-build --no-parallel
stage 'thread sanitizer' sanitized thread 'EngineTests|ThreadsTests|JobsTests|ServiceTests'
stage 'address sanitizer' sanitized address 'EngineTests|ModelsTests|MediaTests|JobsTests'
stage 'build release' swift build -c release --static-swift-stdlib
stage 'parity' .build/release/filoscope-bench parity Tests/Goldens
stage 'end to end' .venv-test/bin/pytest -q -rs --durations=5 Tests/EndToEndTests
stage 'ARM: toolchain and sysroot' toolchain
if [ "$toolchain" -eq 0 ]; then
    stage 'ARM: build the programs' scripts/cross.sh release
    stage 'ARM: the Swift tests on three emulated CPUs' scripts/test-arm.sh tests
    stage 'ARM: the same frames on three emulated CPUs' scripts/test-arm.sh frames
    stage 'ARM: the same frames from every ability' scripts/test-arm.sh abilities
    stage 'ARM: instruction counts' scripts/test-arm.sh counts
else
    not_passed+=('ARM under emulation: the toolchain is unavailable, nothing was built or tested for ARM')
fi

echo '── minutes per stage'
printf '%s\n' "${stages[@]}"
if [ ${#not_passed[@]} -gt 0 ]; then
    printf '!! NOT PASSED: %s\n' "${not_passed[@]}"
    exit 0
fi
echo 'every stage passed'
