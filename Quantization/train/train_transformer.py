"""Train the transformer on cached latents: it predicts the clean latent from a noisy one.

Any subset of latent frames may be known: those stand at time 0 and are left out of the loss. Clips of every size take
turns, and those that begin anywhere in their motion come with a few frames of what was before or comes after; those that pass into
another scene come with frames of the first, and with a prompt as far on the way to the second as they end.
Several processes may train one model (--world 2, --rank 0 and 1): each takes its own clips, and
gradients are averaged, and each process orthogonalises its part of the matrices. On shared cores
that does better than threads.
"""

import copy
import math
import os

import torch
import torch.distributed as distributed

from . import cache_latents, data, generator
from .transformer import NANO, Transformer

SHIFT = 3.0
MOST_KNOWN = 4
MOVING = 0.4  # of each batch begins anywhere in its motion
PASSING = 0.125  # besides passes into another scene
GIVEN_NOISE = 0.2  # at most on the frames that those are given
OFTEN = 2  # times as often as the other sizes is the first
MUON = 2  # Muon's learning rate, in AdamW's


class Clips:
    """All cached parts, normalised, as one tensor; looks for new parts now and then."""

    def __init__(self, path, name=cache_latents.named(generator.SIZES[0])):
        self.path, self.name, self.files = path, name, []
        statistics = data.load(path("statistics.pt"))
        self.mean, self.std = (statistics[key].view(1, -1, 1, 1, 1) for key in ("mean", "std"))
        self.latents, self.labels = torch.empty(0), torch.empty(0, dtype=torch.long)
        self.after, self.passed = torch.empty(0, dtype=torch.long), torch.empty(0)
        self.look()

    def look(self):
        new = [file for file in cache_latents.parts(self.path, self.name) if file not in self.files]
        loaded = [data.load(file) for file in new]
        self.files += new
        if loaded:
            latents = [((part["latents"].float() - self.mean) / self.std).bfloat16() for part in loaded]
            self.latents = torch.cat(([self.latents] if len(self.latents) else []) + latents)
            self.labels = torch.cat([self.labels] + [cache_latents.combination(part["labels"]) for part in loaded])
            # Of clips that pass into another scene: which, and how far.
            self.after = torch.cat([self.after] + [cache_latents.combination(part.get("after", part["labels"])) for part in loaded])
            self.passed = torch.cat([self.passed] + [part["levels"][:, 1] if "levels" in part else torch.zeros(len(part["labels"]))
                                                     for part in loaded])


def known_frames(batch, frames):
    """Which latent frames are given: mostly none, else first, last, both, the first few or the last few."""
    known = torch.zeros(batch, frames, dtype=torch.bool)
    kind = torch.bucketize(torch.rand(batch), torch.tensor([0.10, 0.14, 0.18, 0.23, 0.27]))
    known[(kind == 0) | (kind == 2), 0] = True
    known[(kind == 1) | (kind == 2), -1] = True
    some = torch.arange(frames)[None] < torch.randint(2, min(MOST_KNOWN, frames - 1) + 1, (batch, 1))
    return known | (some & (kind == 3)[:, None]) | (some.flip(1) & (kind == 4)[:, None])


def neighbours(batch, frames, ahead=0.65):
    """Which latent frames are given of clips that begin anywhere: the first (of so many) or the last two to MOST_KNOWN."""
    some = torch.arange(frames)[None] < torch.randint(2, min(MOST_KNOWN, frames - 1) + 1, (batch, 1))
    return torch.where(torch.rand(batch, 1) < ahead, some, some.flip(1))


class Draw:
    """Clips of one size to learn from; the last `moving` of them begin anywhere.

    `x` [batch, channels, frames, height, width] latents; `known` [batch, frames] which of them are given; `labels` and `after`
    [batch] combinations, and `passed` how far each clip gets from one to the other.
    """

    def __init__(self, drawn, moving):
        self.x, self.labels, self.after, self.passed, self.known = (torch.cat(parts) for parts in zip(*drawn))
        self.x, self.moving = self.x.float(), moving

    def text(self, captions, wording, wording_after):
        """What stands for the prompt: of clips that pass into another scene a mixture, token by token, as the daemon's."""
        before, after = captions[self.labels, wording].float(), captions[self.after, wording_after].float()
        return torch.lerp(before, after, self.passed[:, None, None])


class Mixture:
    """Clips of all sizes that are cached, of all kinds."""

    def __init__(self, path):
        self.path, self.sizes = path, []
        for size in generator.SIZES:
            kinds = [Clips(path, cache_latents.named(size, kind)) for kind in cache_latents.KINDS]
            if len(kinds[0].latents) > 0:
                self.sizes.append(kinds)

    def look(self):
        """With what has been cached since."""
        for kinds in self.sizes:
            for clips in kinds:
                clips.look()
        return self if len(self.sizes) == len(generator.SIZES) else Mixture(self.path)

    def __len__(self):
        return sum(len(clips.latents) for kinds in self.sizes for clips in kinds)

    def draw(self, batch):
        kinds = self.sizes[max(0, torch.randint(len(self.sizes) + OFTEN - 1, ()).item() - OFTEN + 1)]
        counts = [int(part * batch) if len(clips.latents) > 0 else 0 for clips, part in zip(kinds[1:], (MOVING, PASSING))]
        drawn = []
        for clips, count, given in zip(kinds, [batch - sum(counts), *counts],
                                       (known_frames, neighbours, lambda *shape: neighbours(*shape, ahead=1))):
            if count > 0:
                rows = torch.randint(len(clips.latents), (count,))
                drawn.append((clips.latents[rows], clips.labels[rows], clips.after[rows], clips.passed[rows],
                              given(count, clips.latents.shape[2])))
        return Draw(drawn, sum(counts))


def times(batch):
    """Logit-normal, shifted; a third close to pure noise, where the text alone decides what moves where."""
    s = torch.sigmoid(torch.randn(batch))
    s = SHIFT * s / (1 + (SHIFT - 1) * s)
    return torch.where(torch.rand(batch) < 0.33, 0.85 + 0.15 * torch.rand(batch), s)


def optimizers(model, rate, muon, rank=0, world=1):
    """AdamW; or Muon for the matrices inside the blocks (this process's part of them) and AdamW for the rest."""
    def kind(name, p):
        if p.ndim != 2 or "table" in name:
            return "rest"
        return "inner" if muon and name.startswith("blocks.") else "matrix"

    rest, matrices, inner = ([p for n, p in model.named_parameters() if kind(n, p) == k]
                             for k in ("rest", "matrix", "inner"))
    result = [torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}],
                                lr=rate, betas=(0.9, 0.97))]
    if inner:
        result.append(torch.optim.Muon(inner[rank::world], lr=rate, weight_decay=0.01, ns_steps=4, adjust_lr_fn="match_rms_adamw"))
    return result, inner


def share(inner, rank, world):
    """Everyone gets the matrices that the others have changed."""
    flat = torch.cat([(p if i % world == rank else torch.zeros_like(p)).detach().flatten() for i, p in enumerate(inner)])
    distributed.all_reduce(flat)
    at = 0
    with torch.no_grad():
        for p in inner:
            p.copy_(flat[at:at + p.numel()].view_as(p))
            at += p.numel()


def average_gradients(parameters, part):
    """Over all processes; also agrees on how far training is, so that all stop at the same step."""
    flat = torch.cat([p.grad.flatten() for p in parameters] + [torch.tensor([part])])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    at = 0
    for p in parameters:
        p.grad.copy_(flat[at:at + p.numel()].view_as(p))
        at += p.numel()
    return flat[-1].item()


def main():
    parser = data.arguments(__doc__, minutes=60)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--muon", action="store_true")
    parser.add_argument("--heads", type=int, default=NANO["num_attention_heads"])
    parser.add_argument("--name", default="transformer")
    parser.add_argument("--base", help="a checkpoint to begin with, as train.restore writes it (default: from nothing)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--world", type=int, default=1)
    options = parser.parse_args()
    path = data.start(options, options.seed)
    if options.world > 1:
        distributed.init_process_group("gloo", init_method="file://" + path("transformer.meet"),
                                       rank=options.rank, world_size=options.world)
    file = path(options.name + ".pt")

    width = options.heads * NANO["attention_head_dim"]
    config = dict(NANO, num_attention_heads=options.heads, ffn_dim=4 * width)
    model = Transformer(config)
    if options.base:
        model.load_state_dict(data.load(path(options.base + ".pt"))["ema"])
    ema = copy.deepcopy(model).eval()
    optimizers_, inner = optimizers(model, options.rate, options.muon, options.rank, options.world)
    optimizer_file = path(f"{options.name}-optimizer-{options.rank}-of-{options.world}.pt")
    progress, steps = data.Progress(options.minutes), 0
    state = data.load(file)
    if state is not None:
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(optimizers_, data.load(optimizer_file) or []):
            optimizer.load_state_dict(saved)
        progress, steps = data.Progress(options.minutes, state["clips"], state["minutes"]), state["steps"]
    torch.manual_seed(options.seed + steps + 1_000_000 * options.rank)
    clips, captions = Mixture(path), data.load(path("captions.pt"))["states"]
    count = sum(p.numel() for p in model.parameters())
    parameters = list(model.parameters())
    print(f"{count} parameters, {len(clips)} clips cached", flush=True)

    def checkpoint():
        data.save([optimizer.state_dict() for optimizer in optimizers_], optimizer_file)
        if options.rank == 0:
            data.save({"model": model.state_dict(), "ema": ema.state_dict(), "config": config, "steps": steps,
                       "clips": progress.clips, "minutes": progress.elapsed}, file)

    average, saved, looked = None, progress.elapsed, progress.elapsed
    stop = path(options.name + ".stop")
    part = progress.part
    while part < 1:
        rate = options.rate * min(1, (steps + 1) / 50)
        if part > 0.6:  # hold, then down to a twentieth
            rate *= 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (part - 0.6) / 0.4))
        for optimizer in optimizers_:
            for group in optimizer.param_groups:
                group["lr"] = rate * (MUON if isinstance(optimizer, torch.optim.Muon) else 1)
        if progress.elapsed - looked > 1:
            clips, looked = clips.look(), progress.elapsed
        drawn = clips.draw(options.batch)
        x, known, moving = drawn.x, drawn.known, drawn.moving
        batch, _, frames = x.shape[:3]
        text = drawn.text(captions, *torch.randint(captions.shape[1], (2, batch))) * (torch.rand(batch, 1, 1) > 0.1)
        sigma = times(batch)[:, None].expand(batch, frames).masked_fill(known, 0)
        level = sigma[:, None, :, None, None]
        noisy = (1 - level) * x + level * torch.randn_like(x)
        if moving > 0:  # what windows go on from is not without faults
            noisy[-moving:] += GIVEN_NOISE * torch.rand(moving, 1, 1, 1, 1) * torch.randn_like(x[-moving:]) * (level[-moving:] == 0)
        guess = model(noisy, sigma, text)
        error = (guess - x).pow(2).mean((1, 3, 4))
        weight = (~known).float() / (sigma ** 2 + 0.1)
        loss = (error * weight).sum() / (~known).sum()
        for optimizer in optimizers_:
            optimizer.zero_grad()
        loss.backward()
        part = 1.0 if os.path.exists(stop) else progress.part
        if options.world > 1:
            part = average_gradients(parameters, part)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers_:
            optimizer.step()
        if options.world > 1 and inner:
            share(inner, options.rank, options.world)
        steps += 1
        keep = min(0.998, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), parameters, 1 - keep)
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        progress.add(batch * options.world, loss=average, steps=steps, rate=rate, cached=len(clips))
        if progress.elapsed - saved > 2:
            saved = progress.elapsed
            checkpoint()
    checkpoint()
    print(f"done: {progress.clips} clips, {steps} steps, loss {average:.4f}", flush=True)


if __name__ == "__main__":
    main()
