#!/bin/sh
# Builds and runs the tests of CKernels: natively, with sanitizers, and for ARM under emulation.
# usage: run.sh [native] [sanitize] [arm] [time]      (without arguments: native sanitize arm)
# Missing ARM tools are an error, unless FILOSCOPE_SKIP_ARM says why they may be missing.
# CC, ARM_CC and QEMU choose other tools; SEED other numbers.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seed=${SEED:-1}
if [ -z "${CC:-}" ]; then
    if command -v clang >/dev/null; then CC=clang; else CC=cc; fi
fi

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# build OUTPUT COMPILER FLAGS...: gcc contracts products and sums unless told not to, clang is told in the source.
# As many files at a time as there are CPUs.
build() {
    output=$1
    shift
    mkdir "$output.o"
    printf '%s\n' "$here"/*.c "$root"/Sources/CKernels/*.c |
        xargs -P "$(nproc)" -I '{}' sh -c 'file=$1 objects=$2; shift 2; exec "$@" -c "$file" -o "$objects/$(basename "$file").o"' compile \
            '{}' "$output.o" "$@" -std=c17 -g -ffp-contract=off -Wall -Wextra -Werror -Wno-psabi \
            -I"$root/Sources/CKernels/include" 2>"$work/log" &&
        "$@" "$output.o"/*.o -lm -o "$output" 2>>"$work/log" ||
        { cat "$work/log" >&2; fail "cannot build with $1"; }
}

# check NAME COMMAND...: runs the tests and keeps the one checksum that all levels must give.
check() {
    name=$1
    shift
    echo "== $name"
    "$@" --seed "$seed" >"$work/output" || { cat "$work/output"; fail "$name"; }
    cat "$work/output"
    grep '^checksum ' "$work/output" >>"$work/checksums" || fail "$name ran no level"
}

# ran LEVEL: the last run had it.
ran() {
    grep -q "^level $1 " "$work/output" || fail "level $1 did not run"
}

native() {
    build "$work/native" "$CC" -O2
    check "native, $CC" "$work/native"
    # What the system says of this CPU, against what the kernels found out themselves.
    for pair in avx2:avx2 avx512_vbmi2:avx512vnni avx512_vnni:vnni256 avx_vnni:avxvnni asimddp:dotprod i8mm:i8mm; do
        if grep -qw "${pair%%:*}" /proc/cpuinfo; then ran "${pair##*:}"; fi
    done
}

sanitize() {
    build "$work/sanitized" "$CC" -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
    check "native, $CC, address and undefined behaviour sanitizers" "$work/sanitized"
}

arm_cpus() {
    for pair in max:i8mm cortex-a76:dotprod cortex-a72:neon; do
        check "$1, emulated ${pair%%:*}" "$qemu" -cpu "${pair%%:*}" "$2" --expect-best "${pair##*:}"
        ran "${pair##*:}"
        ran neon
    done
    for pair in cortex-a72:dotprod cortex-a76:i8mm; do
        if "$qemu" -cpu "${pair%%:*}" "$2" --level "${pair##*:}" 2>"$work/refused"; then
            fail "level ${pair##*:} runs on a ${pair%%:*}"
        fi
        grep -q "level ${pair##*:} is not supported by this CPU" "$work/refused" ||
            fail "level ${pair##*:} is refused without a reason"
        echo "level ${pair##*:} is refused on an emulated ${pair%%:*}, as it should be"
    done
}

arm() {
    if [ -n "${FILOSCOPE_SKIP_ARM:-}" ]; then
        echo "== ARM SKIPPED: $FILOSCOPE_SKIP_ARM"
        return
    fi
    arm_cc=${ARM_CC:-aarch64-linux-gnu-gcc}
    # Debian 13 has the same program without the suffix.
    qemu=${QEMU:-$(command -v qemu-aarch64-static || echo qemu-aarch64)}
    for tool in "$arm_cc" "$qemu"; do
        command -v "$tool" >/dev/null || fail "$tool is missing (FILOSCOPE_SKIP_ARM=reason skips the tests for ARM)"
    done
    build "$work/arm" "$arm_cc" -O2 -static
    arm_cpus "ARM, $arm_cc" "$work/arm"
    # The product is built by clang: where it is the compiler here, its code for ARM is tested too.
    case $("$CC" --version) in
    *clang*)
        build "$work/arm-clang" "$CC" --target=aarch64-linux-gnu -O2 -static
        arm_cpus "ARM, $CC" "$work/arm-clang"
        ;;
    esac
}

timing() {
    build "$work/timed" "$CC" -O2
    "$work/timed" --time
}

: >"$work/checksums"
[ $# -gt 0 ] || set -- native sanitize arm
for part in "$@"; do
    case $part in
    native | sanitize | arm) "$part" ;;
    time) timing ;;
    *) fail "unknown part $part (native, sanitize, arm, time)" ;;
    esac
done
if [ -s "$work/checksums" ]; then
    [ "$(sort -u "$work/checksums" | wc -l)" -eq 1 ] || fail "the checksums differ: $(sort "$work/checksums" | uniq -c)"
    echo "== all $(wc -l <"$work/checksums" | tr -d ' ') runs give $(head -n 1 "$work/checksums"), seed $seed"
fi
