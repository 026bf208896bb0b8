"""One thread each, ours and its peers in turns: medians, and medians of the ratios of neighbouring measurements, ours over
theirs.

usage: python peers FILOSCOPE_BENCH [linear] [attention] [step FOLDER]...
"""

import sys

import common  # noqa: F401  one thread, before numpy and torch are loaded


def main(bench, *parts):
    parts = list(parts) or ["linear", "attention"]
    while parts:
        part = parts.pop(0)
        if part not in ("linear", "attention", "step") or part == "step" and not parts:
            sys.exit(__doc__)
        module = __import__(part)
        try:
            module.compare(bench, parts.pop(0)) if part == "step" else module.compare(bench)
        except ImportError as error:
            print(f"left out: {part}: {error}")


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(*sys.argv[1:])
