#!/usr/bin/env python3
"""Counts the instructions of the kernels for ARM and compares them with ceilings.

usage: counts.py [--refresh | --peers GGML XNNPACK]

Every case of cases.tsv runs once on every kernel level in the emulator, with plugin.c inside. A count above its ceiling in
ceilings.tsv fails, and so does a case without a ceiling or a ceiling without a case. --refresh writes the ceilings anew: 1 %
above today's counts; the commit that brings them says why.

Counts are exact and the same on every machine, but they are not times. Of the loops that make at least nine tenths of a case
llvm-mca says how many cycles a core's model takes, beside the least that its issue ports allow. Those are bounds too: caches,
branches and what lies between the loops are not in them.

--peers counts the int8 linears of two peers the same way, on the same shapes, from checkouts of theirs, beside ours.

Exit status 69: the toolchain is unavailable, nothing was counted.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CEILINGS = HERE / "ceilings.tsv"
CORES = ["neoverse-n1", "cortex-a55", "cortex-a72", "neoverse-n2"]
# Where the inner loop must do little else: tiles full of rows.
DENSE = [(level, "linear_i8", numbers) for level in ("dotprod", "i8mm") for numbers in ("64x192x768", "60x1536x1536")]
SLACK = 1.01  # alignment and such, not a slower kernel
OTHER_COMPILER_SLACK = 1.10  # sid moves; what a newer compiler does is looked at, not a reason to stop everything


def run(command, **options):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.stderr.write(result.stdout + result.stderr)
        sys.exit(69 if result.returncode == 69 else f"counts: {command[0]} ended with {result.returncode}")
    return result.stdout


def cross(*arguments):
    return run([ROOT / "scripts/cross.sh", *arguments], cwd=ROOT)


def build(folder):
    # The product's own compiler and options.
    sysroot = cross("path", "sysroot").strip()
    sources = sorted((ROOT / "Sources/CKernels").glob("*.c"))
    cross("run", "clang", "--target=aarch64-linux-gnu", f"--sysroot={sysroot}", "-fuse-ld=lld", "-static", "-std=gnu11", "-O3",
          "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/Sources/CKernels/include", *sources, HERE / "program.c", "-lm",
          "-o", folder / "program")
    build_plugin(folder)
    return cross("run", "clang", "--version").splitlines()[0]


def build_plugin(folder):
    run(["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", HERE / "plugin.c",
         "-o", folder / "plugin.so"])


# Levels and what their functions may use: the compiler's option, XNNPACK's function and its file's ending.
PEERS = {
    "neon": ("armv8-a", "4x16", "neon_mlal_lane", "neon-mlal-lane"),
    "dotprod": ("armv8.2-a+dotprod", "4x16c4", "neondot", "neondot"),
    "i8mm": ("armv8.2-a+dotprod+i8mm", "4x16c8", "neoni8mm", "neoni8mm"),
}


def build_peers(folder, ggml, xnnpack):
    sysroot = cross("path", "sysroot").strip()
    # All that XNNPACK's header wants of another library.
    (folder / "pthreadpool.h").write_text("typedef struct pthreadpool *pthreadpool_t;\n")
    for level, (architecture, tile, kernel, ending) in PEERS.items():
        options = ["--target=aarch64-linux-gnu", f"--sysroot={sysroot}", f"-march={architecture}", "-O3", "-DNDEBUG", "-w",
                   "-ffunction-sections", "-D_GNU_SOURCE", f"-I{folder}"]
        function = f"xnn_qd8_f32_qc8w_gemm_minmax_ukernel_{tile}__{kernel}"
        objects = []
        for source, *more in [
            (HERE / "peers.c", "-std=gnu11", f"-I{xnnpack}", f"-I{xnnpack}/include", f"-DPEER_XNNPACK={function}",
             f'-DPEER_LEVEL="{level}"'),
            (f"{xnnpack}/src/qd8-f32-qc8w-gemm/gen/qd8-f32-qc8w-gemm-{tile}-minmax-{ending}.c", "-std=gnu11", f"-I{xnnpack}",
             f"-I{xnnpack}/include"),
            *((f"{ggml}/src/ggml-cpu/arch/arm/{name}", standard, f"-I{ggml}/include", f"-I{ggml}/src", f"-I{ggml}/src/ggml-cpu")
              for name, standard in [("quants.c", "-std=gnu11"), ("repack.cpp", "-std=gnu++17")]),
        ]:
            objects.append(folder / f"{level}-{len(objects)}.o")
            run([ROOT / "scripts/cross.sh", "run", "clang", *options, *more, "-c", source, "-o", objects[-1]], cwd=ROOT)
        # What the functions that are counted do not use is left out, and what that would need is not missed.
        cross("run", "clang", "--target=aarch64-linux-gnu", f"--sysroot={sysroot}", "-fuse-ld=lld", "-static", *objects,
              "-Wl,--gc-sections,--unresolved-symbols=ignore-all", "-lm", "-o", folder / f"peers-{level}")


class Tools:
    """Debian 12's programs with the libraries they were made with, whatever this machine has."""

    def __init__(self):
        self.root = pathlib.Path(cross("path", "tools").strip())

    def command(self, program, *arguments):
        libraries = f"{self.root}/usr/lib/x86_64-linux-gnu:{self.root}/usr/lib/llvm-19/lib"
        words = [self.root / "lib64/ld-linux-x86-64.so.2", "--library-path", libraries, self.root / "usr/bin" / program, *arguments]
        return [str(word) for word in words]


class Case:
    """One operation on one level: instructions by function, and the blocks (address, length, times) that executed most."""

    def __init__(self, line):
        self.level, self.operation, self.numbers, products = line.split()
        self.products = int(products)
        self.symbols = {}
        self.blocks = []
        self.multiplying = 0.0

    @property
    def key(self):
        return self.level, self.operation, self.numbers

    @property
    def total(self):
        return sum(self.symbols.values())


def count(tools, folder, program="program"):
    report = folder / "report"
    output = run(tools.command("qemu-aarch64", "-cpu", "max", "-plugin", f"{folder}/plugin.so,out={report}",
                               folder / program, HERE / "cases.tsv"))
    cases = [Case(line) for line in output.splitlines()]
    lines = [line.split() for line in report.read_text().splitlines()]
    if not cases or lines[-1] != ["complete", str(len(cases))]:
        sys.exit("counts: the plugin's report is incomplete")
    for kind, index, *rest in lines[:-1]:
        if kind == "symbol":
            cases[int(index)].symbols[rest[0]] = int(rest[1])
        else:
            cases[int(index)].blocks.append((int(rest[0], 16), int(rest[1]), int(rest[2])))
    return cases


def loops(tools, program, case):
    """The hottest blocks, at least nine tenths of the case, as llvm-mca takes them; how often each executes; their share;
    the part of the hottest one that multiplies int8."""
    source, times, instructions, multiplying = "", [], 0, None
    for address, length, executed in case.blocks:
        if instructions >= 0.9 * case.total:
            break
        text = run(tools.command("llvm-objdump-19", "-d", "--no-show-raw-insn", "--no-leading-addr", "--mattr=+dotprod,+i8mm",
                                 f"--start-address={address:#x}", f"--stop-address={address + 4 * length:#x}", program))
        lines = [line.strip() for line in text.splitlines() if re.match(r"\s+\w", line)]
        if len(lines) != length:
            sys.exit(f"counts: {len(lines)} instructions disassembled of {length} at {address:#x}")
        if multiplying is None:
            multiplying = sum(re.match(r"(sdot|udot|usdot|smmla|ummla|usmmla)\b", line) is not None for line in lines) / length
        # Where a branch or an address leads does not matter to the model, but it must be near.
        lines = ["0:"] + [re.sub(r"0x[0-9a-f]+ <.*>$", "0b", line) for line in lines]
        source += "\n".join(["# LLVM-MCA-BEGIN", *lines, "# LLVM-MCA-END", ""])
        times.append(executed)
        instructions += length * executed
    return source, times, instructions / case.total, multiplying


def cycles(tools, source, times, products):
    """Per core: cycles and the issue bound of 64 products; None where the core has not got the instructions."""
    found = {}
    for core in CORES:
        command = tools.command("llvm-mca-19", "-mtriple=aarch64-linux-gnu", f"-mcpu={core}", "-iterations=200",
                                "-instruction-info=false", "-resource-pressure=false")
        result = subprocess.run(command, input=source, capture_output=True, text=True)
        totals = re.findall(r"Total Cycles:\s+(\d+)", result.stdout)
        bounds = re.findall(r"Block RThroughput:\s+([\d.]+)", result.stdout)
        if result.returncode != 0 or len(totals) != len(times):
            found[core] = None
            continue
        total = sum(int(cycles) / 200 * count for cycles, count in zip(totals, times))
        bound = sum(float(cycles) * count for cycles, count in zip(bounds, times))
        found[core] = (64 * total / products, 64 * bound / products)
    return found


def heading():
    print("instructions by case; of 64 products: instructions, and the loops' cycles (least that issue allows) on a core's model;\n"
          "int8: of the hottest loop's instructions, those that are sdot, smmla or usmmla")
    print(f"{'level':8} {'operation':16} {'numbers':18} {'instructions':>12} {'per 64':>7} {'loops':>5} {'int8':>5}  "
          + " ".join(f"{core:>15}" for core in CORES) + "  functions")


def show(tools, program, cases):
    looked = False
    for case in cases:
        functions = sorted(case.symbols.items(), key=lambda item: -item[1])
        functions = ", ".join(f"{name} {100 * n / case.total:.0f}%" for name, n in functions if n * 20 >= case.total)
        rate, share, dense, columns = "", "", "", [""] * len(CORES)
        if case.products:
            rate = f"{64 * case.total / case.products:.2f}"
            source, times, part, case.multiplying = loops(tools, program, case)
            share = f"{part:.0%}"
            dense = f"{case.multiplying:.0%}" if case.multiplying else ""
            found = cycles(tools, source, times, case.products)
            columns = ["-" if found[core] is None else "{:.2f} ({:.2f})".format(*found[core]) for core in CORES]
            looked = looked or any(found.values())
        print(f"{case.level:8} {case.operation:16} {case.numbers:18} {case.total:12} {rate:>7} {share:>5} {dense:>5}  "
              + " ".join(f"{column:>15}" for column in columns) + f"  {functions}")
    if not looked:
        sys.exit("counts: llvm-mca understood no loop")


def refresh(cases, compiler):
    with CEILINGS.open("w") as file:
        file.write("# Most instructions a case may take. Made by counts.py --refresh; the commit that changes a number says why.\n")
        file.write(f"# compiler: {compiler}\n")
        for case in cases:
            file.write("\t".join([*case.key, str(int(case.total * SLACK))]) + "\n")
    print(f"wrote {len(cases)} ceilings")


def check(cases, compiler):
    ceilings, made_by, failures = {}, None, []
    for line in CEILINGS.read_text().splitlines():
        if line.startswith("# compiler: "):
            made_by = line.removeprefix("# compiler: ")
        elif not line.startswith("#"):
            level, operation, numbers, ceiling = line.split("\t")
            ceilings[level, operation, numbers] = int(ceiling)
    slack = 1
    if made_by != compiler:
        slack = OTHER_COMPILER_SLACK / SLACK
        print(f"the ceilings were made with {made_by}, this is {compiler}: {OTHER_COMPILER_SLACK - 1:.0%} more are let pass")
    for case in cases:
        ceiling = ceilings.pop(case.key, None)
        name = " ".join(case.key)
        if ceiling is None:
            failures.append(f"{name} has no ceiling")
        elif case.total > ceiling * slack:
            failures.append(f"{name} takes {case.total} instructions, its ceiling is {ceiling}")
        elif case.total < ceiling * 0.95:
            print(f"note: {name} takes {1 - case.total / ceiling:.0%} less than its ceiling; lower it with --refresh")
        if case.key in DENSE and case.multiplying < 0.75:
            failures.append(f"{name} multiplies in {case.multiplying:.0%} of its inner loop's instructions, not in three quarters")
    failures += [f"the ceiling of {' '.join(key)} has no case" for key in ceilings]
    for failure in failures:
        print(f"FAILED: {failure}")
    if failures:
        sys.exit(1)
    print(f"all {len(cases)} counts are within their ceilings")


def main():
    peers = sys.argv[2:] if sys.argv[1:2] == ["--peers"] and len(sys.argv) == 4 else None
    if sys.argv[1:] not in ([], ["--refresh"]) and not peers:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        compiler = build(folder)
        tools = Tools()
        cases = count(tools, folder)
        heading()
        if peers:
            show(tools, folder / "program", [case for case in cases if case.operation == "linear_i8"])
            build_peers(folder, *(pathlib.Path(peer).resolve() for peer in peers))
            for level in PEERS:
                show(tools, folder / f"peers-{level}", count(tools, folder, f"peers-{level}"))
            return
        show(tools, folder / "program", cases)
        if "--refresh" in sys.argv:
            refresh(cases, compiler)
        else:
            check(cases, compiler)


main()
