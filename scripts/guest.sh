# Sourced by the tests that boot Debian's kernel in QEMU. The caller sets `test`, its name, and `cache`, a folder outside the tree
# that packages are unpacked into, never installed. Exit status 69 and "did not run: REASON" mean that nothing was tested.

did_not_run() {
    echo "$test did not run: $*" >&2
    exit 69
}

guest_needs() { # COMMAND…
    [ "$(uname -m)" = x86_64 ] || did_not_run "the guest is x86-64, this machine is $(uname -m)"
    local command
    for command in apt-get dpkg-deb ldd "$@"; do
        command -v "$command" >/dev/null || did_not_run "there is no $command here"
    done
}

# One at a time: a second one waits, and finds a complete cache.
guest_lock() {
    mkdir -p "$cache/packages/partial"
    exec 8>"$cache/lock"
    flock 8
}

# ── packages ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# Prints the name of the kernel's package.
guest_kernel() {
    local kernel
    kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
    [ -n "$kernel" ] || did_not_run "apt knows no linux-image-amd64"
    echo "$kernel"
}

# Unpacks the kernel and what belongs to it into $cache/kernel, QEMU and busybox with all that they need into $cache/host. What was
# fetched stays in $cache/packages, for a second try, until the caller removes it.
guest_fetch() { # KERNEL PACKAGE…
    local file own=()
    # apt marks who fetches by another user; as root it would complain of a folder that this one can't see.
    [ "$(id -u)" -ne 0 ] || own=(-o APT::Sandbox::User=root)
    (cd "$cache/packages" && apt-get -q "${own[@]}" download "$@") || did_not_run "the packages of the kernel can't be had: $*"
    apt-get -q "${own[@]}" -o Dir::Cache::archives="$cache/packages" -o Debug::NoLocking=1 -y --no-install-recommends \
        --download-only install qemu-system-x86 busybox-static || did_not_run "the packages of QEMU can't be had"
    rm -rf "$cache/ready" "$cache/release" "$cache/kernel" "$cache/host"
    mkdir -p "$cache/kernel" "$cache/host"
    for file in "$cache"/packages/*.deb; do
        case $(basename "$file") in
        linux-* | v4l2loopback*) dpkg-deb -x "$file" "$cache/kernel" ;;
        *) dpkg-deb -x "$file" "$cache/host" ;;
        esac
    done
    echo "${1#linux-image-}" >"$cache/release"
}

# Installed or unpacked.
guest_tool() {
    command -v "$1" || find "$cache/host/usr/bin" "$cache/host/bin" -name "$1" 2>/dev/null | head -1
}

# Sets qemu and busybox.
guest_tools() {
    qemu=$(guest_tool qemu-system-x86_64)
    busybox=$(guest_tool busybox)
    [ -n "$qemu" ] && [ -n "$busybox" ] || did_not_run "there is no QEMU here"
    export LD_LIBRARY_PATH=$cache/host/usr/lib/x86_64-linux-gnu:$cache/host/lib/x86_64-linux-gnu
    "$qemu" --version >/dev/null || did_not_run "QEMU does not start on this machine"
}

# ── the guest ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# Sets work, a folder that goes when the test ends, guest, what becomes the initramfs, and modules.
guest_begin() { # RELEASE INIT
    work=$(mktemp -d)
    trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
    release=$1
    guest=$work/guest
    modules=$guest/lib/modules/$release
    mkdir -p "$guest/bin" "$modules/kernel"
    cp "$busybox" "$guest/bin/busybox"
    install -m 755 "$2" "$guest/init"
}

# Stripped copies in the folder; every library that they name goes into the guest, where the loader looks for it.
guest_programs() { # FOLDER PROGRAM…
    local folder=$1 program library
    shift
    mkdir -p "$folder"
    for program in "$@"; do
        cp "$program" "$folder/"
        strip "$folder/$(basename "$program")"
        LD_LIBRARY_PATH= ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\/lib64\/ld-/ { print $1 }'
    done | sort -u | while read -r library; do
        mkdir -p "$guest$(dirname "$library")"
        cp -L "$library" "$guest$library"
    done
}

guest_modules() { # PART…, folders and files of the kernel's modules
    local part
    for part in "$@"; do
        [ -e "$cache/kernel/lib/modules/$release/kernel/$part" ] || continue
        mkdir -p "$modules/kernel/$(dirname "$part")"
        cp -r "$cache/kernel/lib/modules/$release/kernel/$part" "$modules/kernel/$part"
    done
    cp "$cache/kernel/lib/modules/$release"/modules.{builtin,order} "$modules/"
}

# Boots what lies in the guest's folder; its console goes to $work/console. `KVM` is 0 or 1, `WORDS` are the guest's: NAME=VALUE
# becomes a variable of init. Ends the test as failed unless the guest says that it is done.
guest_run() { # SECONDS KVM WORDS QEMU_OPTION…
    # Emulated: a KVM inside a KVM may open and then not come further than its first instructions.
    local accelerator=(-accel tcg,thread=multi -cpu max) limit=$1 words=$3 started
    [ "$2" = 0 ] || accelerator=(-accel kvm -cpu host)
    shift 3
    (cd "$guest" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs"
    started=$SECONDS
    timeout "$limit" "$qemu" "${accelerator[@]}" -L "$cache/host/usr/share/qemu" -L "$cache/host/usr/share/seabios" \
        -kernel "$cache/kernel/boot/vmlinuz-$release" -initrd "$work/initramfs" \
        -append "console=ttyS0 quiet panic=-1 rdinit=/init${words:+ $words}" \
        -display none -vga none -net none -no-reboot -serial "file:$work/console" "$@" </dev/null >"$work/qemu.log" 2>&1 &
    wait $! || cat "$work/qemu.log"
    echo "the guest ran for $((SECONDS - started)) s"
    if ! grep -q '^GUEST: done' "$work/console"; then
        tail -40 "$work/console" 2>/dev/null || true
        echo 'the guest did not come to its end'
        exit 1
    fi
}
