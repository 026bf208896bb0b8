"""Train the autoencoder on crops of clips of all sprites; half of them of nano's own subjects.

Two phases: everything for --minutes; then, with --decoder, only the decoder, so that latents
already cached stay valid while it sharpens.
"""

import math
import random

import torch
import torch.nn.functional as F

from . import data, generator, sprites
from .autoencoder import Autoencoder

BATCH, CROP, FRAMES = 8, 32, 5


def held_out(names):
    """About a tenth of the sprites, never nano's own, by name alone."""
    order = list(range(len(names)))
    random.Random(1).shuffle(order)
    mine = set(generator.NAMES)
    return [i for i in order if names[i] not in mine][:100]


class Orthogonal(torch.optim.Optimizer):
    """Muon for convolutions: momentum whose matrix [outputs, inputs x taps] is made orthogonal, at AdamW's scale."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                matrix = p.grad.lerp(mean, group["momentum"]).flatten(1)
                tall = matrix.shape[0] > matrix.shape[1]
                x = matrix.T if tall else matrix
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    square = x @ x.T
                    x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
                update = (x.T if tall else x) * 0.2 * max(matrix.shape) ** 0.5
                p.add_(update.view_as(p), alpha=-group["lr"])


def round_to_bytes(model):
    """Lets training feel int8: what every convolution of `model` takes is rounded to 256 steps over its range."""
    def rounded(_, inputs):
        x, = inputs
        with torch.no_grad():
            low, high = x.min().clamp(max=0), x.max().clamp(min=0)
            scale = ((high - low) / 255).clamp(min=1e-8)
            error = torch.round(x / scale) * scale - x
        return (x + error,)

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(rounded)


@torch.no_grad()
def reconstruct(model, clips):
    return torch.cat([model.decode(model.encode(part)) for part in clips.split(8)]).clamp(0, 1)


def main():
    parser = data.arguments(__doc__, minutes=26)
    parser.add_argument("--decoder", action="store_true", help="go on with the decoder alone")
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--adam", dest="muon", action="store_false", help="AdamW for everything, no Muon")
    parser.add_argument("--last", type=float, default=0.03, help="the last learning rate, as a part of the first")
    options = parser.parse_args()
    path = data.start(options)
    rng = random.Random(0)

    pictures, names = sprites.load(path("sprites"))
    unseen = held_out(names)
    seen = [i for i in range(len(names)) if i not in set(unseen)]
    wide = generator.Generator(pictures[seen], frames=9)
    own = generator.Generator(sprites.load(path("sprites"), generator.NAMES)[0], frames=9)
    test = generator.Generator(pictures[unseen])
    g = torch.Generator().manual_seed(7)
    test_unseen = test.render(test.labels(24, g), g)
    world = generator.small_world(path("sprites"))
    test_own = world.render(world.labels(24, g), g)

    file = path("autoencoder-decoder.pt" if options.decoder else "autoencoder.pt")
    model = Autoencoder()
    parameters = list(model.decoder.parameters() if options.decoder else model.parameters())
    kernels = [p for p in parameters if p.ndim == 4 and options.muon]
    rest = [p for p in parameters if p.ndim < 4 or not options.muon]
    optimizers = [torch.optim.AdamW(rest, lr=options.rate, betas=(0.9, 0.98), weight_decay=1e-4)]
    if kernels:
        optimizers.append(Orthogonal(kernels, lr=options.rate))
    state = data.load(file)
    progress = data.Progress(options.minutes)
    g.manual_seed(0)
    steps = 0
    if state is not None:
        model.load_state_dict(state["model"])
        for optimizer, kept in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(kept)
        progress = data.Progress(options.minutes, state["clips"], state["minutes"])
        steps = state["steps"]
        g.manual_seed(steps)
    elif options.decoder:
        model.load_state_dict(data.load(path("autoencoder.pt"))["model"])
        with torch.no_grad():
            woken = model.wake_decoder(model.encode(wide.render(wide.labels(16, g), g)))
        print(f"{woken} memory blocks of the decoder begin anew", flush=True)
    else:
        model.initialise_linear(torch.cat([wide.render(wide.labels(16, g), g) for _ in range(6)]))
        print(f"linear: unseen sprites {data.psnr(reconstruct(model, test_unseen), test_unseen):.2f} dB", flush=True)
    model.encoder.requires_grad_(not options.decoder)
    if options.decoder:
        round_to_bytes(model.decoder)

    def checkpoint():
        data.save({"model": model.state_dict(), "optimizers": [optimizer.state_dict() for optimizer in optimizers], "clips": progress.clips,
                   "minutes": progress.elapsed, "steps": steps}, file)

    average, reported = None, progress.elapsed
    while progress.part < 1:
        cosine = 0.5 * (1 + math.cos(math.pi * progress.part))
        rate = options.rate * min(1, (steps + 1) / 100) * (options.last + (1 - options.last) * cosine)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        source = own if rng.random() < 0.5 else wide
        clips = source.render(source.labels(BATCH, g), g, random_facing=True)
        top, side = rng.randrange(4, 29), rng.randrange(4, 29)
        clips = clips[:, :FRAMES] if rng.random() < 0.5 else clips[:, -FRAMES:]
        clips = clips[..., top:top + CROP, side:side + CROP].contiguous()
        with torch.set_grad_enabled(not options.decoder):
            latents = model.encode(clips)
        with torch.enable_grad():
            output = model.decode(latents + 0.02 * torch.randn(latents.shape, generator=g))
        error = output - clips
        absolute = error.abs().mean()
        loss = (absolute + 4 * error.pow(2).mean()
                + 0.5 * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()))
        if not options.decoder:
            loss = loss + 1e-4 * latents.pow(2).mean() + 0.01 * F.relu(latents.abs() - 2).mean()
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        steps += 1
        average = absolute.item() if average is None else 0.98 * average + 0.02 * absolute.item()
        if progress.add(BATCH, l1=average, steps=steps) and progress.elapsed - reported > 3:
            reported = progress.elapsed
            checkpoint()
            print(f"  unseen sprites {data.psnr(reconstruct(model, test_unseen), test_unseen):.2f} dB, "
                  f"own subjects {data.psnr(reconstruct(model, test_own), test_own):.2f} dB", flush=True)
    checkpoint()
    print(f"unseen sprites {data.psnr(reconstruct(model, test_unseen), test_unseen):.2f} dB, "
          f"own subjects {data.psnr(reconstruct(model, test_own), test_own):.2f} dB", flush=True)


if __name__ == "__main__":
    main()
