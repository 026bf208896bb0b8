#!/usr/bin/env bash
# Both cameras against the kernel's own drivers: boots Debian's kernel in QEMU with v4l2loopback and vivid, runs the real programs
# there, and compares what a consumer sees with the video, bit for bit, and the picture that a job has taken with the camera's.
#
# usage: test-camera.sh [BUILD_FOLDER]     (.build/release, made with --static-swift-stdlib)
#
# Kernel, emulator and v4l2loopback are Debian packages, unpacked into a cache folder outside the tree, never installed:
# $FILOSCOPE_CAMERA_CACHE, or filoscope-camera in $XDG_CACHE_HOME or ~/.cache. A complete cache is used without the network.
# Exit status 69 and "did not run: REASON" mean that nothing was tested. Never count it as a pass.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-.build/release}
cache=${FILOSCOPE_CAMERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/filoscope-camera}

test=test-camera
source scripts/guest.sh

guest_needs gcc make python3 strip
for program in filoscoped filoscope; do
    [ -x "$build/$program" ] || did_not_run "$build/$program is missing: make build"
done
python=python3
[ -x .venv-test/bin/python ] && python=.venv-test/bin/python
$python -c 'import numpy, PIL' 2>/dev/null || did_not_run "Python has no numpy and pillow"

guest_lock

# ── packages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

prepare() {
    local kernel headers common kbuild
    kernel=$(guest_kernel)
    headers=${kernel/image/headers}
    common=$(apt-cache depends "$headers" | awk '$2 ~ /-common$/ { print $2; exit }')
    kbuild=$(apt-cache depends "$headers" | awk '$2 ~ /^linux-kbuild-/ { print $2; exit }')
    guest_fetch "$kernel" "$headers" "$common" "$kbuild" v4l2loopback-dkms
    # The one absolute path in the headers.
    sed -i "s#include /usr/src#include $cache/kernel/usr/src#" "$cache/kernel/usr/src/$headers/Makefile"
    rm -rf "$cache/loopback"
    cp -r "$cache"/kernel/usr/src/v4l2loopback-* "$cache/loopback"
    make -C "$cache/kernel/usr/src/$headers" M="$cache/loopback" modules >"$cache/loopback.log" 2>&1 || {
        tail -5 "$cache/loopback.log" >&2
        did_not_run "v4l2loopback can't be built for $kernel"
    }
    rm -rf "$cache/packages"
    cp "$cache/release" "$cache/ready"
}
[ -s "$cache/ready" ] || prepare
guest_tools

# ── the guest ─────────────────────────────────────────────────────────────────────────────────────────────────────────

guest_begin "$(cat "$cache/ready")" Tests/CameraGuest/init
mkdir -p "$work/out"
guest_programs "$guest/app" "$build/filoscoped" "$build/filoscope"
gcc -O1 -Wall -Wextra -Werror -static -o "$guest/app/node" Tests/CameraGuest/node.c
cp -r Models "$guest/models"
guest_modules drivers/{media,video,virtio,block/virtio_blk.ko,char,cec,input/rc}
cp "$cache/loopback/v4l2loopback.ko" "$modules/kernel/"
truncate -s 256M "$work/disk"

# ── the test ──────────────────────────────────────────────────────────────────────────────────────────────────────────

guest_run 600 "${FILOSCOPE_CAMERA_KVM:-0}" '' -m 1024 -smp 2 -drive "file=$work/disk,format=raw,if=virtio"
tar x -C "$work/out" -f "$work/disk" 2>/dev/null || true
[ -z "${FILOSCOPE_CAMERA_KEEP:-}" ] || { cp -r "$work/out" "$work/console" "$FILOSCOPE_CAMERA_KEEP"; }
$python Tests/CameraGuest/compare.py "$work/out" || {
    tail -40 "$work/console"
    exit 1
}
echo 'test-camera passed'
