#!/usr/bin/env bash
# Builds Filoscope for ARM (aarch64, Debian 13) on an x86-64 Debian machine.
#
# usage: cross.sh [setup | release | tests | all]     (without an argument: all)
#        cross.sh run COMMAND...                       a command among the cross toolchain's own programs
#        cross.sh path NAME                            sysroot, toolchain, tools, cache, release or tests
#
# The toolchain and the sysroot are Debian packages, unpacked into a cache folder outside the tree, never installed:
# $FILOSCOPE_CROSS_CACHE, or filoscope-cross in $XDG_CACHE_HOME or ~/.cache. A complete cache is used as it is, without
# the network; `FILOSCOPE_CROSS_REFRESH=1 cross.sh setup` makes it anew. Apt checks the archive's signatures and the
# packages' hashes against this machine's own archive keys.
#
# Exit status 69 and "toolchain unavailable: REASON" mean that nothing was built or tested here. Never count it as a
# pass. An error of the build itself ends with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$PWD

cache=${FILOSCOPE_CROSS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/filoscope-cross}
toolchain=$cache/toolchain                                # Debian sid, amd64: swiftc, clang, SwiftPM
sdks=$cache/sdks
sysroot=$sdks/filoscope.artifactbundle/aarch64/sysroot    # Debian 13, arm64, and sid's Swift libraries
tools=$cache/tools                                        # Debian 12, amd64: an emulator that takes plugins, llvm-mca
release=$tree/.build-arm/aarch64-unknown-linux-gnu/release
tests=$tree/.build-arm-tests/aarch64-unknown-linux-gnu/release

compiler_suite=sid board_suite=trixie tools_suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
toolchain_packages=(swiftlang git dash libc6-dev libstdc++-16-dev)
sysroot_packages=(libc6-dev libstdc++-14-dev libsystemd-dev libturbojpeg0-dev libpng-dev libv4l-dev libopenh264-dev zlib1g-dev)
tools_packages=(qemu-user llvm-19)
# Parts of the compiler that a cross build never opens: a good half of 2.7 GB.
toolchain_leaves=(usr/share usr/libexec/swift/lib/swift/embedded usr/libexec/swift/lib/liblldb.so.*
    usr/libexec/swift/lib/libsourcekitdInProc.so usr/libexec/swift/lib/libclang.so.* usr/libexec/swift/bin/clangd
    usr/libexec/swift/bin/lldb* usr/libexec/swift/bin/sourcekit-lsp usr/libexec/swift/bin/docc
    usr/libexec/swift/bin/wasmkit)

unavailable() {
    echo "toolchain unavailable: $*" >&2
    exit 69
}

say() { echo "cross: $*" >&2; }

# ── packages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# The mirror this machine itself uses, from its own sources.
mirror() {
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SITE)' 'Created-By: Packages' 2>/dev/null |
        awk -v release="$codename" '$1 == release && $2 == "main" { print $3; exit }'
}

# private ARCHITECTURE COMMAND...: apt in a root of its own; the machine's proxy settings still hold.
private() {
    local architecture=$1 command=$2 apt=$cache/apt
    shift 2
    LC_ALL=C.UTF-8 "$command" -q -o Dir::Etc="$apt/etc" -o Dir::State="$apt/state" \
        -o Dir::State::status="$apt/state/status" -o Dir::Cache="$apt/cache" -o Dir::Cache::pkgcache="$architecture.bin" -o APT::Sandbox::User=root \
        -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" -o APT::Install-Recommends=false \
        -o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
        -o Dpkg::Use-Pty=false "$@"
}

# Fills the private apt root with the lists of the suites, and looks whether they have what is needed.
lists() {
    local command site suite apt=$cache/apt
    for command in apt-get apt-cache dpkg-deb unshare flock tar; do
        command -v "$command" >/dev/null || unavailable "no $command here: this takes a Debian machine"
    done
    [ "$(dpkg --print-architecture)" = amd64 ] || unavailable "the cross compiler runs on amd64 only"
    [ -r "$keyring" ] || unavailable "$keyring is missing (package debian-archive-keyring)"
    site=$(mirror)
    [ -n "$site" ] || unavailable "this machine's apt sources name no Debian mirror of its release"
    [ "$(df --output=avail -BG "$cache" | tail -1 | tr -dc 0-9)" -ge 7 ] || unavailable "7 GB are needed in $cache"
    rm -rf "$apt"
    mkdir -p "$apt"/etc/{apt.conf.d,preferences.d,sources.list.d} "$apt"/state/lists/partial \
        "$cache/packages/partial" "$apt/cache"
    ln -sfn "$cache/packages" "$apt/cache/archives" # what was downloaded outlives a broken run
    : >"$apt/state/status"
    for suite in $compiler_suite $board_suite $tools_suite; do
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: %s\nSigned-By: %s\n' \
            "$site" "$suite" "$([ $suite = $tools_suite ] && echo amd64 || echo amd64 arm64)" "$keyring" \
            >"$apt/etc/sources.list.d/$suite.sources"
    done
    say "reading the lists of $compiler_suite, $board_suite and $tools_suite"
    private amd64 apt-get -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o APT::Update::Error-Mode=any \
        update >"$cache/update.log" 2>&1 || unavailable "apt-get update: $(grep -E '^[EW]:' "$cache/update.log" | head -2)"
    # One compiler in two halves: the program for amd64, the modules and libraries for arm64, of one version.
    version=$(candidate amd64 swiftlang)
    [ -n "$version" ] || unavailable "the mirror has no swiftlang for amd64 in $compiler_suite"
    local package
    for package in swiftlang libswiftlang; do
        [ "$(candidate arm64 $package)" = "$version" ] ||
            unavailable "$package is $version for amd64 and '$(candidate arm64 $package)' for arm64 in $compiler_suite"
    done
    printf '%s\n6.2\n' "$version" | sort -V | head -1 | grep -qx 6.2 || unavailable "swiftlang $version is older than 6.2"
    say "Swift ${version%%-*}"
}

# candidate ARCHITECTURE PACKAGE: its version in the compiler's suite.
candidate() {
    private "$1" apt-cache -o APT::Default-Release=$compiler_suite policy "$2" | awk '$1 == "Candidate:" { print $2 }'
}

# fetch ARCHITECTURE SUITE PACKAGES...: downloads them and all they depend on; prints the files.
fetch() {
    local architecture=$1 suite=$2
    shift 2
    private "$architecture" apt-get -t "$suite" -y --download-only install "$@" >&2 ||
        unavailable "the mirror cannot deliver $* for $architecture from $suite"
    # Debian's names of files: what apt would install now, in the folder where it has just put it.
    private "$architecture" apt-get -t "$suite" --simulate install "$@" |
        awk '$1 == "Inst" { version = $3; sub(/^\(/, "", version); gsub(":", "%3a", version)
             print $2 "_" version }' |
        while read -r name; do
            name=$(compgen -G "$cache/packages/${name}_*.deb" | grep -E "_($architecture|all)\.deb$") ||
                unavailable "$name was not downloaded"
            echo "$name"
        done
}

# unpack FOLDER PACKAGES...: as dpkg would on a merged /usr, without its scripts.
unpack() {
    local folder=$1 package count=0
    shift
    mkdir -p "$folder"/usr/{bin,sbin,lib,lib64}
    ln -sfn usr/lib "$folder/lib"
    ln -sfn usr/lib64 "$folder/lib64"
    ln -sfn usr/bin "$folder/bin"
    ln -sfn usr/sbin "$folder/sbin"
    for package; do
        count=$((count + 1))
        [ "$(stat -c %s "$package")" -lt 20000000 ] || say "unpacking $(basename "$package") ($count of $#)"
        dpkg-deb --fsys-tarfile "$package" |
            tar -x -C "$folder" --keep-directory-symlink --no-same-owner "${exclusions[@]}" || return 1
    done
}

make_toolchain() {
    local files exclusions=() leaf
    say 'downloading the compiler (0.7 GB)'
    files=$(fetch amd64 $compiler_suite "${toolchain_packages[@]}")
    for leaf in "${toolchain_leaves[@]}"; do exclusions+=(--exclude="./$leaf"); done
    rm -rf "$toolchain.new"
    # shellcheck disable=SC2086
    unpack "$toolchain.new" $files
    rm -rf "$toolchain"
    mv "$toolchain.new" "$toolchain"
}

make_sysroot() {
    local files new=$sysroot.new exclusions=(--exclude=./usr/share/doc --exclude=./usr/share/man)
    say 'downloading the sysroot (0.6 GB)'
    files=$(fetch arm64 $board_suite "${sysroot_packages[@]}")
    # Without what they depend on: sid's C library must not follow them into the sysroot.
    (cd "$cache/packages" && private arm64 apt-get download "swiftlang=$version" "libswiftlang=$version" >&2) ||
        unavailable "the mirror cannot deliver Swift's libraries for arm64"
    rm -rf "$new"
    # shellcheck disable=SC2086
    unpack "$new" $files "$cache/packages/libswiftlang_${version}_arm64.deb"
    say 'unpacking Swift for arm64'
    dpkg-deb --fsys-tarfile "$cache/packages/swiftlang_${version}_arm64.deb" |
        tar -x -C "$new" --no-same-owner --exclude=./usr/libexec/swift/lib/swift/embedded \
            --exclude='./usr/libexec/swift/lib/swift/host' ./usr/libexec/swift/lib/{clang,swift,swift_static}
    # Its library is not packaged, yet every test that imports Testing and Foundation would link it.
    rm -rf "$new/usr/libexec/swift/lib/swift/linux/Testing.swiftcrossimport"
    # Where the compiler's driver looks for what it links.
    ln -sfn ../libexec/swift/lib/swift "$new/usr/lib/swift"
    ln -sfn ../libexec/swift/lib/swift_static "$new/usr/lib/swift_static"
    # The emulator redirects every absolute path that exists here.
    rm -rf "$new"/{bin,sbin,etc,var,run} "$new/usr/share"
    rm -rf "$sysroot"
    mv "$new" "$sysroot"
    describe_sdk
}

describe_sdk() {
    local bundle=$sdks/filoscope.artifactbundle
    cat >"$bundle/info.json" <<-JSON
	{"schemaVersion": "1.0", "artifacts": {"filoscope-aarch64": {"type": "swiftSDK", "version": "1", "variants": [
	  {"path": "aarch64", "supportedTriples": ["x86_64-unknown-linux-gnu", "x86_64-pc-linux-gnu"]}]}}}
	JSON
    cat >"$bundle/aarch64/swift-sdk.json" <<-JSON
	{"schemaVersion": "4.0", "targetTriples": {"aarch64-unknown-linux-gnu": {"sdkRootPath": "sysroot",
	  "swiftResourcesPath": "sysroot/usr/libexec/swift/lib/swift",
	  "swiftStaticResourcesPath": "sysroot/usr/libexec/swift/lib/swift_static", "toolsetPaths": ["toolset.json"]}}}
	JSON
    cat >"$bundle/aarch64/toolset.json" <<-JSON
	{"schemaVersion": "1.0", "swiftCompiler": {"extraCLIOptions": ["-use-ld=lld"]}}
	JSON
}

make_tools() {
    local files exclusions=(--exclude=./usr/share)
    say 'downloading the emulator that takes plugins, and llvm-mca (0.1 GB)'
    files=$(fetch amd64 $tools_suite "${tools_packages[@]}")
    rm -rf "$tools.new"
    # shellcheck disable=SC2086
    unpack "$tools.new" $files
    rm -rf "$tools"
    mv "$tools.new" "$tools"
}

# What was made from another list of packages, or by another recipe, is made anew.
recipe=$(sed -n '/^compiler_suite=/,/^unavailable/p; /^unpack/,/^setup/p' scripts/cross.sh | sha256sum | cut -c1-16)

setup() {
    local started=$SECONDS version part
    mkdir -p "$cache" "$(dirname "$sysroot")" || unavailable "cannot write to $cache"
    exec 8>"$cache/lock"
    flock 8
    [ "${FILOSCOPE_CROSS_REFRESH:-0}" = 0 ] || rm -f "$cache"/*.ready
    if [ "$(cat "$cache/all.ready" 2>/dev/null)" != "$recipe" ]; then
        lists
        for part in tools sysroot toolchain; do
            [ "$(cat "$cache/$part.ready" 2>/dev/null)" = "$recipe $version" ] && continue
            rm -f "$cache/$part.ready"
            make_$part
            echo "$recipe $version" >"$cache/$part.ready"
        done
        inside swiftc --version >&2 || unavailable "the compiler does not start on this machine"
        echo "$recipe" >"$cache/all.ready"
        rm -rf "$cache/packages" "$cache/apt" # 1.3 GB
        say "ready in $cache after $((SECONDS - started)) s, $(du -sh "$cache" | cut -f1)"
    fi
    exec 8>&-
}

# ── building ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# inside COMMAND...: among the toolchain's own files, in a mount namespace that ends with it. The compiler is of another
# Debian than this machine, so that it needs its own C library in its own place.
inside() {
    local own=()
    [ "$(id -u)" -eq 0 ] || own=(--user --map-root-user)
    # shellcheck disable=SC2016
    unshare "${own[@]}" --mount -- /bin/bash -euc '
        root=$1
        shift
        for folder in /*; do
            case $folder in
            /bin | /sbin | /lib* | /usr | /etc | /boot | /lost+found) continue ;;
            esac
            [ -d "$folder" ] && [ ! -L "$folder" ] || continue
            mkdir -p "$root$folder"
            mount --rbind "$folder" "$root$folder"
        done
        mkdir -p "$root/etc"
        for file in passwd group hosts resolv.conf gitconfig localtime; do
            [ -e "/etc/$file" ] || continue
            [ -e "$root/etc/$file" ] || : >"$root/etc/$file"
            mount --bind "/etc/$file" "$root/etc/$file"
        done
        exec env -i HOME="$HOME" LANG=C.UTF-8 TMPDIR=/tmp PATH=/usr/libexec/swift/bin:/usr/bin:/bin \
            PKG_CONFIG_PATH="$PKG_CONFIG_PATH" /usr/bin/unshare --root="$root" --wd="$PWD" -- "$@"
    ' inside "$toolchain" "$@"
}
export PKG_CONFIG_PATH=$sysroot/usr/lib/aarch64-linux-gnu/pkgconfig

swift_build() { # SCRATCH OPTIONS...
    local scratch=$1
    shift
    inside swift build -c release --swift-sdks-path "$sdks" --swift-sdk filoscope-aarch64 --cache-path "$cache/swiftpm" \
        --scratch-path "$scratch" "$@"
}

build_release() {
    local product
    for product in filoscoped filoscope filoscope-bench; do
        swift_build "$tree/.build-arm" --static-swift-stdlib --product "$product"
    done
}

# Of the libraries for tests there are only dynamic ones.
build_tests() {
    swift_build "$tree/.build-arm-tests" --build-tests -Xswiftc -enable-testing
}

# Not `setup && build`: the shell would let errors of the build pass.
case ${1:-all} in
setup) setup ;;
release)
    setup
    build_release
    ;;
tests)
    setup
    build_tests
    ;;
all)
    setup
    build_release
    build_tests
    ;;
run)
    shift
    setup
    inside "$@"
    ;;
path)
    case ${2:-} in
    cache | sysroot | toolchain | tools | release | tests) echo "${!2}" ;;
    *)
        echo "cross.sh: no path is called '${2:-}'" >&2
        exit 2
        ;;
    esac
    ;;
*)
    sed -n '4,6p' "$0" >&2
    exit 2
    ;;
esac
