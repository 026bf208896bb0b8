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

did_not_run() {
    echo "test-camera did not run: $*" >&2
    exit 69
}

[ "$(uname -m)" = x86_64 ] || did_not_run "the guest is x86-64, this machine is $(uname -m)"
for command in apt-get dpkg-deb gcc make python3 ldd; do
    command -v $command >/dev/null || did_not_run "there is no $command here"
done
for program in filoscoped filoscope; do
    [ -x "$build/$program" ] || did_not_run "$build/$program is missing: make build"
done
python=python3
[ -x .venv-test/bin/python ] && python=.venv-test/bin/python
$python -c 'import numpy, PIL' 2>/dev/null || did_not_run "Python has no numpy and pillow"

mkdir -p "$cache/packages/partial"
exec 8>"$cache/lock"
flock 8

# ── packages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

prepare() {
    local kernel headers common kbuild file own=()
    kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
    [ -n "$kernel" ] || did_not_run "apt knows no linux-image-amd64"
    headers=${kernel/image/headers}
    common=$(apt-cache depends "$headers" | awk '$2 ~ /-common$/ { print $2; exit }')
    kbuild=$(apt-cache depends "$headers" | awk '$2 ~ /^linux-kbuild-/ { print $2; exit }')
    # apt marks who fetches by another user; as root it would complain of a folder that this one can't see.
    [ "$(id -u)" -ne 0 ] || own=(-o APT::Sandbox::User=root)
    (cd "$cache/packages" && apt-get -q "${own[@]}" download "$kernel" "$headers" "$common" "$kbuild" v4l2loopback-dkms) ||
        did_not_run "the packages of kernel and v4l2loopback can't be had"
    apt-get -q "${own[@]}" -o Dir::Cache::archives="$cache/packages" -o Debug::NoLocking=1 -y --no-install-recommends \
        --download-only install qemu-system-x86 busybox-static || did_not_run "the packages of QEMU can't be had"
    rm -rf "$cache/kernel" "$cache/host" "$cache/loopback"
    mkdir -p "$cache/kernel" "$cache/host"
    for file in "$cache"/packages/*.deb; do
        case $(basename "$file") in
        linux-* | v4l2loopback*) dpkg-deb -x "$file" "$cache/kernel" ;;
        *) dpkg-deb -x "$file" "$cache/host" ;;
        esac
    done
    # The one absolute path in the headers.
    sed -i "s#include /usr/src#include $cache/kernel/usr/src#" "$cache/kernel/usr/src/$headers/Makefile"
    cp -r "$cache"/kernel/usr/src/v4l2loopback-* "$cache/loopback"
    make -C "$cache/kernel/usr/src/$headers" M="$cache/loopback" modules >"$cache/loopback.log" 2>&1 || {
        tail -5 "$cache/loopback.log" >&2
        did_not_run "v4l2loopback can't be built for $kernel"
    }
    rm -rf "$cache/packages"
    echo "${kernel#linux-image-}" >"$cache/ready"
}
[ -s "$cache/ready" ] || prepare
release=$(cat "$cache/ready")

# Installed or unpacked.
program() {
    command -v "$1" || find "$cache/host/usr/bin" "$cache/host/bin" -name "$1" 2>/dev/null | head -1
}
qemu=$(program qemu-system-x86_64)
busybox=$(program busybox)
[ -n "$qemu" ] && [ -n "$busybox" ] || did_not_run "there is no QEMU here"
export LD_LIBRARY_PATH=$cache/host/usr/lib/x86_64-linux-gnu:$cache/host/lib/x86_64-linux-gnu
"$qemu" --version >/dev/null || did_not_run "QEMU does not start on this machine"

# ── the guest ─────────────────────────────────────────────────────────────────────────────────────────────────────────

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
guest=$work/guest
modules=$guest/lib/modules/$release
mkdir -p "$guest"/{bin,app} "$modules/kernel/drivers" "$work/out"
cp "$busybox" "$guest/bin/busybox"
install -m 755 Tests/CameraGuest/init "$guest/init"
for program in filoscoped filoscope; do
    cp "$build/$program" "$guest/app/"
    strip "$guest/app/$program"
done
gcc -O1 -Wall -Wextra -Werror -static -o "$guest/app/node" Tests/CameraGuest/node.c
cp -r Models "$guest/models"
# Every library that the programs name, where the loader looks for it.
LD_LIBRARY_PATH= ldd "$guest/app/filoscoped" "$guest/app/filoscope" | awk '$2 == "=>" { print $3 } $1 ~ /^\/lib64\/ld-/ { print $1 }' |
    sort -u | while read -r library; do
    mkdir -p "$guest$(dirname "$library")"
    cp -L "$library" "$guest$library"
done
for part in media video virtio block/virtio_blk.ko char cec input/rc; do
    [ -e "$cache/kernel/lib/modules/$release/kernel/drivers/$part" ] || continue
    mkdir -p "$modules/kernel/drivers/$(dirname "$part")"
    cp -r "$cache/kernel/lib/modules/$release/kernel/drivers/$part" "$modules/kernel/drivers/$part"
done
cp "$cache/loopback/v4l2loopback.ko" "$modules/kernel/"
cp "$cache/kernel/lib/modules/$release"/modules.{builtin,order} "$modules/"
(cd "$guest" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs"
truncate -s 256M "$work/disk"

# ── the test ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# Emulated: a KVM inside a KVM may open and then not come further than its first instructions.
accelerator=(-accel tcg,thread=multi -cpu max)
[ "${FILOSCOPE_CAMERA_KVM:-0}" = 0 ] || accelerator=(-accel kvm -cpu host)
started=$SECONDS
timeout 600 "$qemu" "${accelerator[@]}" -L "$cache/host/usr/share/qemu" -L "$cache/host/usr/share/seabios" -m 1024 -smp 2 \
    -kernel "$cache/kernel/boot/vmlinuz-$release" -initrd "$work/initramfs" -append 'console=ttyS0 quiet panic=-1 rdinit=/init' \
    -drive "file=$work/disk,format=raw,if=virtio" -display none -vga none -net none -no-reboot \
    -serial "file:$work/console" </dev/null >"$work/qemu.log" 2>&1 &
wait $! || cat "$work/qemu.log"
echo "the guest ran for $((SECONDS - started)) s"
if ! grep -q '^GUEST: done' "$work/console"; then
    tail -40 "$work/console" 2>/dev/null || true
    echo 'the guest did not come to its end'
    exit 1
fi
tar x -C "$work/out" -f "$work/disk" 2>/dev/null || true
[ -z "${FILOSCOPE_CAMERA_KEEP:-}" ] || { cp -r "$work/out" "$work/console" "$FILOSCOPE_CAMERA_KEEP"; }
$python Tests/CameraGuest/compare.py "$work/out" || {
    tail -40 "$work/console"
    exit 1
}
echo 'test-camera passed'
