"""Train the transformer on cached latents: it predicts the clean latent from a noisy one.

Any subset of latent frames may be known: those stand at time 0 and are left out of the loss.
"""

import copy
import math
import os

import torch

from . import cache_latents, data
from .transformer import NANO, Transformer

SHIFT = 3.0
MOST_KNOWN = 4


class Clips:
    """All cached parts, normalised, as one tensor; looks for new parts now and then."""

    def __init__(self, path):
        self.path, self.files = path, []
        statistics = data.load(path("statistics.pt"))
        self.mean, self.std = (statistics[key].view(1, -1, 1, 1, 1) for key in ("mean", "std"))
        self.latents, self.labels = torch.empty(0), torch.empty(0, dtype=torch.long)
        self.look()

    def look(self):
        new = [file for file in cache_latents.parts(self.path) if file not in self.files]
        loaded = [data.load(file) for file in new]
        self.files += new
        if loaded:
            latents = [((part["latents"].float() - self.mean) / self.std).bfloat16() for part in loaded]
            self.latents = torch.cat(([self.latents] if len(self.latents) else []) + latents)
            self.labels = torch.cat(([self.labels] if len(self.labels) else []) +
                                    [cache_latents.combination(part["labels"]) for part in loaded])


def known_frames(batch, frames):
    """Which latent frames are given: mostly none, else first, last, both or the first few."""
    known = torch.zeros(batch, frames, dtype=torch.bool)
    kind = torch.rand(batch)
    first, last, both, some = (kind < 0.12), (kind >= 0.12) & (kind < 0.15), (kind >= 0.15) & (kind < 0.19), \
        (kind >= 0.19) & (kind < 0.25)
    known[first | both | some, 0] = True
    known[last | both, -1] = True
    count = torch.randint(2, min(MOST_KNOWN, frames - 1) + 1, (batch,))
    known |= some[:, None] & (torch.arange(frames)[None] < count[:, None])
    return known


def times(batch):
    s = torch.sigmoid(torch.randn(batch))
    return SHIFT * s / (1 + (SHIFT - 1) * s)


def optimizers(model, rate, muon):
    """AdamW; or Muon for the matrices inside the blocks and AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "table" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "table" in n]
    inner = []
    if muon:
        inner = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks.") and "table" not in n]
        chosen = {id(p) for p in inner}
        matrices = [p for p in matrices if id(p) not in chosen]
    result = [torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}],
                                lr=rate, betas=(0.9, 0.97))]
    if inner:
        result.append(torch.optim.Muon(inner, lr=rate, weight_decay=0.01, ns_steps=4, adjust_lr_fn="match_rms_adamw"))
    return result


def main():
    parser = data.arguments(__doc__, minutes=60)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--muon", action="store_true")
    parser.add_argument("--heads", type=int, default=NANO["num_attention_heads"])
    parser.add_argument("--name", default="transformer")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    path = data.start(options, options.seed)
    file = path(options.name + ".pt")

    width = options.heads * NANO["attention_head_dim"]
    config = dict(NANO, num_attention_heads=options.heads, ffn_dim=4 * width)
    model = Transformer(config)
    ema = copy.deepcopy(model).eval()
    optimizers_ = optimizers(model, options.rate, options.muon)
    progress, steps = data.Progress(options.minutes), 0
    state = data.load(file)
    if state is not None:
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(optimizers_, state["optimizers"]):
            optimizer.load_state_dict(saved)
        progress, steps = data.Progress(options.minutes, state["clips"], state["minutes"]), state["steps"]
        torch.manual_seed(options.seed + steps)
    clips, captions = Clips(path), data.load(path("captions.pt"))["states"]
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters, {len(clips.latents)} clips cached", flush=True)

    def checkpoint():
        data.save({"model": model.state_dict(), "ema": ema.state_dict(), "config": config, "steps": steps,
                   "optimizers": [o.state_dict() for o in optimizers_], "clips": progress.clips,
                   "minutes": progress.elapsed}, file)

    order, at, average, saved = torch.randperm(len(clips.latents)), 0, None, progress.elapsed
    stop = path(options.name + ".stop")
    while progress.part < 1 and not os.path.exists(stop):
        part = progress.part
        rate = options.rate * min(1, (steps + 1) / 50)
        if part > 0.6:  # hold, then down to a twentieth
            rate *= 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (part - 0.6) / 0.4))
        for optimizer in optimizers_:
            for group in optimizer.param_groups:
                group["lr"] = rate
        if at + options.batch > len(order):
            clips.look()
            order, at = torch.randperm(len(clips.latents)), 0
        some = order[at:at + options.batch]
        at += options.batch

        x = clips.latents[some].float()
        batch, _, frames = x.shape[:3]
        wording = torch.randint(captions.shape[1], (batch,))
        text = captions[clips.labels[some], wording].float() * (torch.rand(batch, 1, 1) > 0.1)
        known = known_frames(batch, frames)
        sigma = times(batch)[:, None].expand(batch, frames).masked_fill(known, 0)
        level = sigma[:, None, :, None, None]
        noisy = (1 - level) * x + level * torch.randn_like(x)
        with torch.autocast("cpu", torch.bfloat16):
            guess = model(noisy, sigma, text)
        error = (guess.float() - x).pow(2).mean((1, 3, 4))
        weight = (~known).float() / (sigma ** 2 + 0.1)
        loss = (error * weight).sum() / (~known).sum()
        for optimizer in optimizers_:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers_:
            optimizer.step()
        steps += 1
        keep = min(0.998, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - keep)
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        progress.add(batch, loss=average, steps=steps, rate=rate, cached=len(clips.latents))
        if progress.elapsed - saved > 2:
            saved = progress.elapsed
            checkpoint()
    checkpoint()
    print(f"done: {progress.clips} clips, {steps} steps, loss {average:.4f}", flush=True)


if __name__ == "__main__":
    main()
