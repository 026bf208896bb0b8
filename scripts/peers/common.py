"""What the comparisons share: one CPU, this process' own time, medians."""

import json
import os
import subprocess
import time
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROUNDS = int(os.environ.get("ROUNDS", "7"))


def seconds_of(body, seconds=0.3, least=3):
    """Median CPU seconds of a call, after one that warms up."""
    body()
    taken, end = [], time.process_time() + seconds
    while len(taken) < least or time.process_time() < end:
        start = time.process_time()
        body()
        taken.append(time.process_time() - start)
    return median(taken)


def ours(bench, *arguments):
    """The lines of a filoscope-bench command."""
    command = [bench, *(str(argument) for argument in arguments), "--json"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in text.splitlines()]
