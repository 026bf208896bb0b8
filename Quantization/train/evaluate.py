"""Make clips from prompts, let the judge say what they show, and lay them out to be looked at."""

import random

import torch
from PIL import Image

from . import data, generator, judge
from .autoencoder import Autoencoder
from .sample import sample
from .text import TextEncoder
from .transformer import Transformer


def sheet(clips, file, step=2):
    """One row per clip, every `step`-th frame."""
    rows = [clip[::step].permute(1, 2, 0, 3).flatten(2) for clip in clips]
    pixels = (torch.cat(rows, 1).permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
    Image.fromarray(pixels).save(file)


class Nano:
    """The trained pieces, together."""

    def __init__(self, path, name="transformer"):
        state = data.load(path(name + ".pt"))
        self.model = Transformer(state["config"]).eval()
        self.model.load_state_dict(state["ema"])
        self.trained = state["clips"]
        coder = data.load(path("autoencoder-decoder.pt")) or data.load(path("autoencoder.pt"))
        self.coder = Autoencoder().to(memory_format=torch.channels_last).eval()
        self.coder.load_state_dict(coder["model"])
        statistics = data.load(path("statistics.pt"))
        self.mean, self.std = (statistics[key].view(1, -1, 1, 1, 1) for key in ("mean", "std"))
        self.text = TextEncoder()

    @torch.no_grad()
    def encode(self, clips):
        return (self.coder.encode(clips).transpose(1, 2) - self.mean) / self.std

    @torch.no_grad()
    def decode(self, latents):
        latents = (latents * self.std + self.mean).transpose(1, 2)
        return torch.cat([self.coder.decode(part) for part in latents.split(8)]).clamp(0, 1)

    def __call__(self, prompts, seed=0, **options):
        g = torch.Generator().manual_seed(seed)
        text = self.text(prompts)
        parts = range(0, len(prompts), 24)
        known = options.pop("known", None)
        return torch.cat([self.decode(sample(self.model, text[i:i + 24], g, **options,
                                             known=None if known is None else known[i:i + 24])) for i in parts])


def report(name, right, out=print):
    subject, motion, place = (100 * right.mean(0)).tolist()
    out(f"{name:44s} subject {subject:5.1f}  motion {motion:5.1f}  place {place:5.1f}  of {len(right)}", flush=True)


def main():
    parser = data.arguments(__doc__)
    parser.add_argument("--name", default="transformer")
    parser.add_argument("--prompts", type=int, default=72)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="+", default=[16])
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.5])
    parser.add_argument("--all", action="store_true", help="also unseen wordings, given frames, reconstructions")
    parser.add_argument("--sheet", default="sheet.png")
    options = parser.parse_args()
    path = data.start(options)
    nano, jury, world = Nano(path, options.name), judge.load(path), generator.small_world(path("sprites"))
    g, rng = torch.Generator().manual_seed(99), random.Random(99)
    labels = world.labels(options.prompts, g)
    # Every subject, motion and place equally often.
    for column, count in enumerate((len(generator.NAMES), len(generator.MOTION_NAMES), len(generator.PLACE_NAMES))):
        labels[:, column] = torch.arange(len(labels)).remainder(count)[torch.randperm(len(labels), generator=g)]

    def prompts(motions):
        result = []
        for s, m, p in labels.tolist():
            subject = rng.choice(generator.SUBJECTS[generator.NAMES[s]][0])
            result.append(f"a {subject} {rng.choice(motions[generator.MOTION_NAMES[m]])} "
                          f"{rng.choice(generator.PLACES[generator.PLACE_NAMES[p]])}")
        return result

    print(f"trained on {nano.trained} clips")
    asked = prompts(generator.MOTIONS)
    first = None
    for steps in options.steps:
        for guidance in options.guidance:
            right = []
            for seed in range(options.seeds):
                clips = nano(asked, seed, steps=steps, guidance=guidance)
                right.append(jury.right(clips, labels))
                first = clips if first is None else first
            report(f"{steps} steps, guidance {guidance}", torch.cat(right))
    sheet(first[:16], path(options.sheet))
    for label, prompt in zip(right[0][:16].int().tolist(), asked):
        print("  ", *label, prompt)
    if not options.all:
        return

    common = {"steps": options.steps[0], "guidance": options.guidance[0]}
    report("motions in words never seen", jury.right(nano(prompts(generator.UNSEEN_MOTIONS), 5, **common), labels))
    real = torch.cat([world.render(part, g) for part in labels.split(32)])
    latents = torch.cat([nano.encode(part) for part in real.split(8)])
    made = nano.decode(latents)
    report("rendered clips", jury.right(real, labels))
    report(f"reconstructions ({data.psnr(made, real):.2f} dB)", jury.right(made, labels))
    for name, frames in (("first frame given", [0]), ("first and last frame given", [0, 4]),
                         ("first two latent frames given", [0, 1])):
        mask = torch.zeros(5, dtype=torch.bool)
        mask[frames] = True
        clips = nano(asked, 6, known=latents, mask=mask, **common)
        report(name, jury.right(clips, labels))
    sheet(made[:12], path("sheet-reconstructions.png"))


if __name__ == "__main__":
    main()
