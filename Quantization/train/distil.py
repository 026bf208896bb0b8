"""Distil the guided transformer to few steps without guidance.

The student starts as the teacher. From a noisy latent at one of the student's times it must reach in one step, without
guidance, where the teacher gets in two steps with it (progressive distillation over guided trajectories).
The teacher reads the plainest wording of what the student is asked in any: so the student also learns wordings that the
teacher was never trained on.

Of clips that begin anywhere in their motion the given frames are often not the clip's own but what the student makes of them
after noise, since that is what windows of a long video go on from: so faults do not add up.
"""

import copy
import math

import torch

from . import cache_latents, data
from .sample import schedule
from .train_transformer import GIVEN_NOISE, Mixture, optimizers
from .transformer import Transformer

OWN = 0.5  # of the clips that begin anywhere go on from what the student makes of them
OWN_LEVEL = 0.5  # of noise at most for that: with more, what is given no longer says where things are
UNPROMPTED = 0.05  # trained without a prompt, so that guidance and negative prompts still work


def clean(model, x, sigma, text, guidance):
    if guidance == 1:
        return model(x, sigma, text)
    both = model(torch.cat([x, x]), torch.cat([sigma, sigma]), torch.cat([text, torch.zeros_like(text)]))
    with_text, without = both.chunk(2)
    return without + guidance * (with_text - without)


@torch.no_grad()
def target(teacher, x, text, now, after, known, guidance):
    """The clean latent whose straight line from `x` at `now` passes where the teacher arrives at `after`."""
    frames = x.shape[2]
    middle = (now + after) / 2

    def at(time):
        return time[:, None].expand(-1, frames).masked_fill(known, 0)

    def wide(time):
        return time.view(-1, 1, 1, 1, 1)

    still = known[:, None, :, None, None]
    guess = clean(teacher, x, at(now), text, guidance)
    y = torch.where(still, x, guess + (x - guess) * wide(middle / now))
    guess = clean(teacher, y, at(middle), text, guidance)
    y = guess + (y - guess) * wide(after / middle)
    # y = goal + (x - goal) * after / now
    part = wide(after / now)
    return (y - part * x) / (1 - part)


def moments(batch, steps):
    """Where a step of the student begins and ends; one in five as if it made more steps, so that it still can."""
    finer = torch.rand(batch) < 0.2
    now, after = torch.zeros(batch), torch.zeros(batch)
    for rows, count in ((~finer, steps), (finer, 3 * steps)):
        times = schedule(count)
        step = torch.randint(count, (batch,))
        now, after = torch.where(rows, times[step], now), torch.where(rows, times[step + 1], after)
    return now, after


@torch.no_grad()
def given(model, x, text):
    """What stands for `x` where it is given: for some what `model` makes of it after noise, for the others a little noise on it."""
    batch, frames = len(x), x.shape[2]
    level = (OWN_LEVEL * torch.rand(batch))[:, None].clamp(min=0.05).expand(batch, frames)
    wide = level[:, None, :, None, None]
    guess = model((1 - wide) * x + wide * torch.randn_like(x), level, text)
    own = (torch.rand(batch) < OWN).view(-1, 1, 1, 1, 1)
    return torch.where(own, guess, x + GIVEN_NOISE * torch.rand(batch, 1, 1, 1, 1) * torch.randn_like(x))


def wordings(captions, drawn):
    """What the student reads, and what its teacher: the plainest wording, unless the student's leaves something unsaid."""
    wording = torch.randint(captions.shape[1], (2, len(drawn.labels)))
    return drawn.text(captions, *wording), drawn.text(captions, *cache_latents.plainest(wording))


def main():
    parser = data.arguments(__doc__, minutes=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--steps", type=int, default=4, help="the student's steps")
    parser.add_argument("--guidance", type=float, default=2.5, help="the teacher's")
    parser.add_argument("--teacher", default="transformer", help="a checkpoint")
    parser.add_argument("--base", help="a checkpoint that the student begins as (default: the teacher)")
    parser.add_argument("--name", default="distilled", help="the student's checkpoint")
    options = parser.parse_args()
    path = data.start(options)
    origin = data.load(path(options.teacher + ".pt"))
    teacher = Transformer(origin["config"]).eval()
    teacher.load_state_dict(origin["ema"])
    ema = copy.deepcopy(teacher)
    if options.base:
        ema.load_state_dict(data.load(path(options.base + ".pt"))["ema"])
    model = copy.deepcopy(ema).train()
    optimizers_, _ = optimizers(model, options.rate, True)
    progress, count = data.Progress(options.minutes), 0
    file = path(options.name + ".pt")
    state = data.load(file)
    if state is not None:
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        progress, count = data.Progress(options.minutes, state["clips"], state["minutes"]), state["count"]
    torch.manual_seed(count)
    clips, captions = Mixture(path), data.load(path("captions.pt"))["states"]
    parameters = list(model.parameters())

    def checkpoint():
        data.save({"model": model.state_dict(), "ema": ema.state_dict(), "config": origin["config"], "count": count,
                   "clips": progress.clips, "minutes": progress.elapsed, "guidance": options.guidance,
                   "steps": options.steps}, file)

    average, saved = None, progress.elapsed
    while progress.part < 1:
        rate = options.rate * min(1, (count + 1) / 30) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress.part)))
        for optimizer in optimizers_:
            for group in optimizer.param_groups:
                group["lr"] = rate
        drawn = clips.draw(options.batch)
        x, known, moving = drawn.x, drawn.known, drawn.moving
        text, plain = wordings(captions, drawn)
        prompted = (torch.rand(len(x), 1, 1) > UNPROMPTED).float()
        text, plain = text * prompted, plain * prompted
        now, after = moments(len(x), options.steps)
        level = now[:, None].expand(-1, x.shape[2]).masked_fill(known, 0)
        wide = level[:, None, :, None, None]
        noisy = (1 - wide) * x + wide * torch.randn_like(x)
        if moving > 0:
            # Of what was before, so by the prompt of then.
            start = given(ema, x[-moving:], captions[drawn.labels, 0].float()[-moving:])
            noisy[-moving:] = torch.where(known[-moving:, None, :, None, None], start, noisy[-moving:])
        goal = target(teacher, noisy, plain, now, after, known, options.guidance)
        error = (model(noisy, level, text) - goal).pow(2).mean((1, 3, 4))
        loss = (error * (~known) / (level ** 2 + 0.1)).sum() / (~known).sum()
        for optimizer in optimizers_:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers_:
            optimizer.step()
        count += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), parameters, 1 - min(0.99, (1 + count) / (10 + count)))
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        progress.add(len(x), loss=average, count=count, rate=rate)
        if progress.elapsed - saved > 2:
            saved = progress.elapsed
            checkpoint()
    checkpoint()
    print(f"distilled: {progress.clips} clips, {count} steps, loss {average:.4f}", flush=True)


if __name__ == "__main__":
    main()
