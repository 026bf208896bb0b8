#!/usr/bin/env bash
# Weights larger than the memory allowed: boots Debian's kernel in QEMU and runs passes of a random transformer in memory cgroups
# (v2): with a limit of a quarter of the weights, and with none. The first must end as the second does, with the same output.
#
# usage: test-memory.sh [BUILD_FOLDER]     (.build/release, made with --static-swift-stdlib)
#
# Kernel and emulator are those of test-camera.sh, in its cache folder: $FILOSCOPE_CAMERA_CACHE, or filoscope-camera in
# $XDG_CACHE_HOME or ~/.cache. $FILOSCOPE_MEMORY_LIMIT is another limit, in MiB. $FILOSCOPE_MEMORY_KVM=1 does not emulate.
# Exit status 69 and "did not run: REASON" mean that nothing was tested. Never count it as a pass.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-.build/release}
cache=${FILOSCOPE_CAMERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/filoscope-camera}
limit=${FILOSCOPE_MEMORY_LIMIT:-96}
PATH=$PATH:/usr/sbin:/sbin

test=test-memory
source scripts/guest.sh

guest_needs mke2fs python3 strip
[ -x "$build/filoscope-bench" ] || did_not_run "$build/filoscope-bench is missing: make build"
python=python3
[ -x .venv-test/bin/python ] && python=$PWD/.venv-test/bin/python
$python -c 'import numpy' 2>/dev/null || did_not_run "Python has no numpy"
guest_lock
if ! [ -s "$cache/release" ] && ! [ -s "$cache/ready" ]; then
    kernel=$(guest_kernel)
    guest_fetch "$kernel"
    rm -rf "$cache/packages"
fi
guest_tools

# ── the guest ─────────────────────────────────────────────────────────────────────────────────────────────────────────

guest_begin "$(cat "$cache/release" 2>/dev/null || cat "$cache/ready")" Tests/MemoryGuest/init
guest_modules drivers/{virtio,block/virtio_blk.ko} fs/{ext4,jbd2,mbcache.ko} lib crypto
guest_programs "$work/disk" "$build/filoscope-bench"
(cd Quantization && PYTHONPATH=. "$python" -m filoscope_quantization convert --random wan2.1-t2v-1.3b --layers 6 "$work/disk/model")
LD_LIBRARY_PATH= mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/disk" "$work/image" "$(($(du -sm "$work/disk" | cut -f 1) + 32))M"

# ── the test ──────────────────────────────────────────────────────────────────────────────────────────────────────────

guest_run 900 "${FILOSCOPE_MEMORY_KVM:-0}" \
    "LIMIT=${limit}M STEP=--size,64x64,--frames,5,--threads,1,--text-tokens,20,--repetitions,1" \
    -m 1024 -smp 1 -drive "file=$work/image,format=raw,if=virtio,readonly=on"
tr -d '\r' <"$work/console" | sed -n 's/^GUEST: //p' >"$work/said"
cat "$work/said"

failures=0
expect() { # WORDS CONDITION…
    if [ "${@:2}" ]; then
        echo "ok   $1"
    else
        echo "FAIL $1: ${*:2}"
        failures=$((failures + 1))
    fi
}
# What the guest said of a pass, or nothing.
of() { # PASS NAME
    awk -v pass="$1" -v name="$2" '$1 == pass && $2 == name { print $3; exit }' "$work/said"
}
# A field of the pass's own line.
field() { # PASS NAME
    awk -v name="$2" -v pass="$1" '$1 == pass && $2 == "said" { for (i = 3; i < NF; i++) if ($i == name) { print $(i + 1); exit } }' \
        "$work/said"
}
expect 'cgroup v2 alone' "$(of machine controllers)" = memory -a "$(of machine cgroups)" = 1
expect 'no swap' "$(of machine swaps)" = 0
expect 'the weights are more than twice the limit' "$(of machine weights)" -gt $((2 * limit << 20))
expect 'the limit is as said' "$(of limited memory.max)" = $((limit << 20))
for pass in limited free; do
    expect "$pass: it ends well" "$(of $pass status)" = 0
    for event in oom oom_kill; do
        expect "$pass: nothing was out of memory ($event)" "$(of $pass events.$event)" = 0
    done
done
expect 'limited: the limit was reached' "$(of limited events.max)" -gt 0
expect 'limited: and never passed' "$(of limited memory.peak)" -le "$(of limited memory.max)"
expect 'free: no limit was reached' "$(of free events.max)" = 0
expect 'free: the weights were all in memory' "$(of free memory.peak)" -gt "$(of machine weights)"
expect 'the same output' -n "$(field free output)" -a "$(field limited output)" = "$(field free output)"
echo "$(of machine weights) bytes of weights: a pass takes $(field free seconds) s; within $limit MiB $(field limited seconds) s," \
    "$(field limited private_mib) MiB of them its own, the limit reached $(of limited events.max) times"
[ "$failures" = 0 ] || {
    echo 'test-memory FAILED' >&2
    exit 1
}
echo 'test-memory passed'
