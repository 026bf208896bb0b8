#!/usr/bin/env bash
# Installs the Debian packages that building needs, when any is missing; with the word "test" those of the tests too.
set -euo pipefail

packages=(
    # what a Swift toolchain itself needs
    binutils gcc libcurl4 libedit2 libncurses6 libsqlite3-0 libxml2 zlib1g-dev tzdata
    libc6-dev libstdc++-12-dev pkg-config make git ca-certificates python3 python3-venv
    libsystemd-dev libturbojpeg0-dev libpng-dev libv4l-dev libopenh264-dev
    ffmpeg systemd curl
    qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross
)
[ "${1:-}" != test ] || packages+=(chromium fonts-dejavu-core nodejs procps)
# Debian 13 and later: the emulator's package and the C++ library have other names.
if ! grep -q '^VERSION_ID="12"' /etc/os-release 2>/dev/null; then
    packages=("${packages[@]/qemu-user-static/qemu-user}")
    packages=("${packages[@]/libstdc++-12-dev/libstdc++-14-dev}")
    packages=("${packages[@]/libcurl4/libcurl4t64}")
fi

command -v swift >/dev/null || {
    echo "Filoscope needs a Swift toolchain, 6.2 or newer: https://www.swift.org/install/linux/" >&2
    exit 1
}
missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
"${root[@]}" apt-get update -q
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
