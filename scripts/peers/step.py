"""One pass of a transformer: ours beside PyTorch's, over the same weights and inputs."""

import tempfile
import time
from pathlib import Path
from statistics import median

from common import ROUNDS, ours


def compare(bench, folder, *options):
    import torch
    from torch_parts import File, Transformer

    rounds = min(ROUNDS, 3)
    with tempfile.TemporaryDirectory() as work, torch.inference_mode():
        saved = Path(work) / "step.safetensors"
        arguments = ["step", folder, "--threads", 1, "--save", saved, *options]
        line = ours(bench, *arguments, "--repetitions", 1)[0]
        given, peer = File(saved), Transformer(folder)
        start = time.process_time()
        context = peer.context(given["states"])
        prepared = time.process_time() - start
        theirs, mine, ratios = [], [], []
        result = peer(given["latents"], float(given["timestep"]), context)
        repetitions = max(1, min(20, int(1 / line["seconds"])))
        for _ in range(rounds):
            line = ours(bench, *arguments, "--repetitions", repetitions)[0]
            mine.append(line["seconds"])
            taken = []
            for _ in range(repetitions):
                start = time.process_time()
                result = peer(given["latents"], float(given["timestep"]), context)
                taken.append(time.process_time() - start)
            theirs.append(median(taken))
            ratios.append(theirs[-1] / mine[-1])
    cosine = torch.cosine_similarity(result.flatten(), given["output"].flatten(), 0)
    print(f"{folder}: {line['tokens']} tokens, {line['text_keys']} of text; ours {median(mine):.4f} core seconds, "
          f"{line['percent_of_peak']:.0f} % of the int8 peak; keys and values of the text {line['context_seconds']:.3f}")
    print(f"    {median(theirs):.4f} core seconds  ours is {median(ratios):.2f} x  PyTorch {torch.__version__}, dynamic "
          f"W8A8 over _int_mm, attention float32; text {prepared:.3f}; cosine of the results {cosine:.5f}", flush=True)
