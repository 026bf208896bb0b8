"""Make clips from prompts, let the judge say what they show, and lay them out to be looked at."""

import random

import torch
from PIL import Image

from . import data, generator, judge, measures
from .autoencoder import Autoencoder
from .daemon import Daemon, picture
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
    out(f"{name:52s} subject {subject:5.1f}  motion {motion:5.1f}  place {place:5.1f}  of {len(right)}", flush=True)


def phrases(labels, rng, motions=generator.MOTIONS):
    """One prompt for each row of labels, in the plainest order of words."""
    result = []
    for s, m, p in labels.tolist():
        subject = rng.choice(generator.SUBJECTS[generator.NAMES[s]][0])
        result.append(f"a {subject} {rng.choice(motions[generator.MOTION_NAMES[m]])} "
                      f"{rng.choice(generator.PLACES[generator.PLACE_NAMES[p]])}")
    return result


def prompt_set(world, count, g, kept_from_training):
    """Labels, every subject, motion and place about equally often; only combinations trained on, or only the others."""
    labels = world.labels(40 * count, g)
    labels = labels[generator.held_out(labels) == kept_from_training]
    sizes = len(generator.NAMES), len(generator.MOTION_NAMES), len(generator.PLACE_NAMES)
    seen = [torch.zeros(size) for size in sizes]
    chosen = []
    for row in labels.tolist():
        if len(chosen) < count and all(seen[k][row[k]] <= seen[k].min() + 1 for k in range(3)):
            chosen.append(row)
            for k in range(3):
                seen[k][row[k]] += 1
    return torch.tensor(chosen)


def main():
    parser = data.arguments(__doc__)
    parser.add_argument("--name", default="distilled", help="which checkpoint, without --daemon")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="+", default=[4])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--all", action="store_true", help="also unseen wordings and combinations, given frames")
    parser.add_argument("--daemon", metavar="FOLDER", nargs="?", const="", help="clips by the programs in FOLDER "
                        "(default .build/release) from Models/, instead of by torch from checkpoints")
    parser.add_argument("--models", help="the folder of model folders for --daemon")
    parser.add_argument("--sheet", default="sheet.png")
    options = parser.parse_args()
    path = data.start(options)
    jury, world = judge.load(path), generator.small_world(path("sprites"))
    g, rng = torch.Generator().manual_seed(99), random.Random(99)
    labels = prompt_set(world, options.prompts, g, False)
    others = prompt_set(world, min(options.prompts, 96), g, True)
    asked = phrases(labels, rng)
    rendered = torch.cat([world.render(part, g) for part in labels.split(32)])
    report("rendered clips (how good the judge is)", jury.right(rendered, labels))

    if options.daemon is None:
        nano = Nano(path, options.name)
        print(f"trained on {nano.trained} clips")
        latents = torch.cat([nano.encode(part) for part in rendered.split(8)])
        made = nano.decode(latents)
        report(f"the same through the autoencoder, {data.psnr(made, rendered):.2f} dB", jury.right(made, labels))
        sheet(made[:12], path("sheet-reconstructions.png"))
        everything(nano, options, path, jury, labels, others, asked, rng, rendered)
        if options.all:
            given(nano, options, jury, labels, asked, latents)
            strange(nano, options, path, jury, labels, asked)
        return
    with Daemon(options.daemon or None, options.models) as daemon:
        def engine(prompts, seed=0, steps=4, guidance=1.0):
            return torch.stack([daemon(prompt, seed=seed * 1000 + i, steps=steps, guidance=guidance)
                                for i, prompt in enumerate(prompts)])
        everything(engine, options, path, jury, labels, others, asked, rng, rendered)
        if options.all:
            shaped(daemon, path, jury, labels, asked)
            strange(None, options, path, jury, labels, asked, daemon)


def shaped(daemon, path, jury, labels, asked):
    """In the other sizes."""
    for width, height in generator.SIZES[1:]:
        clips = torch.stack([daemon(prompt, seed=i, size=f"{width}x{height}") for i, prompt in enumerate(asked)])
        report(f"{width}x{height}", jury.right(clips, labels))
        sheet(clips[:24], path(f"sheet-{width}x{height}.png"))


def everything(make, options, path, jury, labels, others, asked, rng, rendered):
    """The table and the sheet; `make(prompts, seed, steps=, guidance=)` gives clips."""
    first = None
    for steps in options.steps:
        for guidance in options.guidance:
            right, clips = [], []
            for seed in range(options.seeds):
                clips.append(make(asked, seed, steps=steps, guidance=guidance))
                right.append(jury.right(clips[-1], labels))
            report(f"{steps} steps, guidance {guidance}, {options.seeds} seeds", torch.cat(right))
            if first is None:
                first, verdicts = clips[0], right[0]
                print(f"flicker {measures.flicker(torch.cat(clips)).mean():.3f} (rendered clips "
                      f"{measures.flicker(rendered).mean():.3f}), off the intended track by "
                      f"{100 * measures.track_error(first, rendered).mean():.1f} % of the height", flush=True)
    sheet(first[:64], path(options.sheet))
    with open(path(options.sheet + ".txt"), "w") as file:
        for verdict, prompt in zip(verdicts.int().tolist(), asked):
            file.write(f"{verdict} {prompt}\n")
    if not options.all:
        return
    common = {"steps": options.steps[0], "guidance": options.guidance[0]}
    report("motions in words never seen", jury.right(make(phrases(labels, rng, generator.UNSEEN_MOTIONS), 5, **common),
                                                     labels))
    report("combinations never seen", jury.right(make(phrases(others, rng), 7, **common), others))
    typed = [prompt.upper() if i % 2 else generator.misspelt(prompt, rng) for i, prompt in enumerate(asked)]
    report("in capitals, or with a typing error", jury.right(make(typed, 8, **common), labels))


def given(nano, options, jury, labels, asked, latents):
    """With some latent frames known, in torch."""
    common = {"steps": options.steps[0], "guidance": options.guidance[0]}
    for name, frames in (("first frame given", [0]), ("first and last frame given", [0, 4]),
                         ("first two latent frames given", [0, 1]), ("last frame given", [4])):
        mask = torch.zeros(5, dtype=torch.bool)
        mask[frames] = True
        report(name, jury.right(nano(asked, 6, known=latents, mask=mask, **common), labels))


def strange(nano, options, path, jury, labels, asked, daemon=None):
    """With a first frame that is in no training clip: of its own, then another picture of the place, then a glyph never shown
    besides. By the daemon, if there is one, else by `nano` in torch."""
    common = {"steps": options.steps[0], "guidance": options.guidance[0]}
    first = torch.zeros(5, dtype=torch.bool)
    first[0] = True
    for what, names in (("another clip", ()), ("place's picture never seen", None),
                        ("subject and place's picture never seen", generator.STRANGERS)):
        world = generator.small_world(path("sprites")) if names == () else generator.strange_world(path("sprites"), names)
        prompts = asked
        if names:
            rng = random.Random(17)
            prompts = [f"a {names[s]} {rng.choice(generator.MOTIONS[generator.MOTION_NAMES[m]])} "
                       f"{rng.choice(generator.PLACES[generator.PLACE_NAMES[p]])}" for s, m, p in labels.tolist()]
        g = torch.Generator().manual_seed(23)
        rendered = torch.cat([world.render(part, g) for part in labels.split(32)])
        if daemon is None:
            latents = torch.cat([nano.encode(part) for part in rendered.split(8)])
            made = nano(prompts, 9, known=latents, mask=first, **common)
        else:
            made = torch.stack([daemon(prompt, seed=9000 + i, input_reference=picture(clip[0]), **common)
                                for i, (prompt, clip) in enumerate(zip(prompts, rendered))])
        for name, clips in ((f"{what}: rendered", rendered), ("  first frame of it given", made)):
            right = jury.right(clips, labels)
            if names:  # the judge knows no such subject
                right[:, 0] = float("nan")
            report(name, right)
        print(f"  the first frame comes back at {data.psnr(made[:, 0], rendered[:, 0]):.1f} dB, the last is "
              f"{data.psnr(made[:, -1], rendered[:, -1]):.1f} dB from the rendered clip's", flush=True)
        sheet(made[:32], path(f"sheet-first-frame-{'own' if names == () else 'subject' if names else 'place'}.png"))


if __name__ == "__main__":
    main()
