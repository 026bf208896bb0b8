"""Teach the distilled transformer to go on from what is there: windows of long videos, and extensions.

Clips begin anywhere in their motion. What comes after (or before) two latent frames is nearly determined, so that the
clean latents themselves are the goal, at the times the student is asked for. What is given is often not the clip's own
latents but what the model makes of them after noise, since that is what windows go on from: so faults do not add up.
The rest of each batch is what the model did before at ordinary inputs, which it must not forget; the layers that read
text stay as they are.
"""

import copy
import math

import torch

from . import data
from .distil import moments, wordings
from .train_transformer import Clips, known_frames, optimizers
from .transformer import Transformer
from .wording import readers

OWN = 0.5  # of the clips go on from what the model makes of them
LEVEL = 0.5  # of noise at most for that: with more, what is given no longer says where things are
LEAST, MOST = 2, 4  # latent frames that are given


def neighbours(batch, frames):
    """Which latent frames are given: the first or the last LEAST to MOST."""
    some = torch.arange(frames)[None] < torch.randint(LEAST, min(MOST, frames - 1) + 1, (batch, 1))
    return torch.where(torch.rand(batch, 1) < 0.65, some, some.flip(1))


@torch.no_grad()
def given(model, x, text):
    """What stands for `x` where it is given: for most clips what `model` makes of it after noise, a little noise for the rest."""
    batch, frames = len(x), x.shape[2]
    level = (LEVEL * torch.rand(batch))[:, None].clamp(min=0.05).expand(batch, frames)
    wide = level[:, None, :, None, None]
    guess = model((1 - wide) * x + wide * torch.randn_like(x), level, text)
    own = (torch.rand(batch) < OWN).view(-1, 1, 1, 1, 1)
    return torch.where(own, guess, x + 0.2 * torch.rand(batch, 1, 1, 1, 1) * torch.randn_like(x))


def main():
    parser = data.arguments(__doc__, minutes=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--base", default="distilled", help="the model to begin with; its file keeps as it is")
    options = parser.parse_args()
    path = data.start(options)
    origin = data.load(path(f"{options.base}.pt"))
    frozen = Transformer(origin["config"]).eval()
    frozen.load_state_dict(origin["ema"])
    model, ema = copy.deepcopy(frozen).train(), copy.deepcopy(frozen)
    progress, count = data.Progress(options.minutes), 0
    state = data.load(path("lengthened.pt"))
    if state is not None:
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        progress, count = data.Progress(options.minutes, state["clips"], state["minutes"]), state["count"]
    for p in readers(model):
        p.requires_grad_(False)
    optimizers_, _ = optimizers(model, options.rate, True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    torch.manual_seed(count)
    clips, moving, captions = Clips(path), Clips(path, "moving"), data.load(path("captions.pt"))["states"]

    def checkpoint():
        data.save({"model": model.state_dict(), "ema": ema.state_dict(), "config": origin["config"], "count": count,
                   "clips": progress.clips, "minutes": progress.elapsed, "steps": origin.get("steps", 4),
                   "guidance": origin.get("guidance", 1)}, path("lengthened.pt"))

    def drawn(source, count):
        some = torch.randint(len(source.latents), (count,))
        return source.latents[some].float(), wordings(captions, source.labels[some])[0]

    half, average, saved = options.batch * 5 // 8, None, progress.elapsed
    while progress.part < 1:
        rate = options.rate * min(1, (count + 1) / 30) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress.part)))
        for optimizer in optimizers_:
            for group in optimizer.param_groups:
                group["lr"] = rate
        x, text = drawn(moving, half)
        kept, kept_text = drawn(clips, options.batch - half)
        frames = x.shape[2]
        ahead, ordinary = neighbours(half, frames), known_frames(len(kept), frames)
        start = given(frozen, x, text)
        known = torch.cat([ahead, ordinary])
        now, _ = moments(options.batch, origin.get("steps", 4))
        level = now[:, None].expand(-1, frames).masked_fill(known, 0)
        wide = level[:, None, :, None, None]
        clean = torch.cat([x, kept])
        noisy = (1 - wide) * clean + wide * torch.randn_like(clean)
        noisy[:half] = torch.where(ahead[:, None, :, None, None], start, noisy[:half])
        text = torch.cat([text, kept_text])
        with torch.no_grad():
            goal = torch.cat([x, frozen(noisy[half:], level[half:], text[half:])])
        error = (model(noisy, level, text) - goal).pow(2).mean((1, 3, 4)) * ~known
        weighted = error / (level ** 2 + 0.1)
        loss = weighted.sum() / (~known).sum()
        for optimizer in optimizers_:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers_:
            optimizer.step()
        count += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - min(0.99, (1 + count) / (10 + count)))
        figures = torch.stack([error[:half].sum() / (~ahead).sum(), error[half:].sum() / (~ordinary).sum()]).detach()
        average = figures if average is None else 0.98 * average + 0.02 * figures
        if progress.add(options.batch, ahead=average[0].item(), kept=average[1].item(), count=count, rate=rate):
            moving.look()
        if progress.elapsed - saved > 2:
            saved = progress.elapsed
            checkpoint()
    checkpoint()
    figures = "" if average is None else f", ahead {average[0]:.4f}, kept {average[1]:.4f}"
    print(f"lengthened: {progress.clips} clips, {count} steps{figures}", flush=True)


if __name__ == "__main__":
    main()
