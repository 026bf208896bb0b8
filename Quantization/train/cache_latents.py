"""Encode clips of the small world, and captions for them, once: what the transformer trains on.

Latents are kept in parts of 1,024 clips, so that training can begin with the first of them.
Of every size there are clips from the beginning of their motion, and some that begin anywhere in it, as windows of long
videos do: those are only ever trained with some of their frames given. Of these again some pass into another scene, as
storyboards do.
"""

import glob
import os
import random

import torch

from . import data, generator
from .autoencoder import Autoencoder
from .text import TextEncoder

PART, BATCH = 1024, 16
KINDS = {"latents": 1000, "moving": 5000, "passing": 9000}  # and the seed of the first part
CAPTIONS, WHOLE = 32, 29  # of each combination; the first is the plainest, those after WHOLE leave something unsaid


def combination(labels):
    """One number for a subject, a motion and a place."""
    return (labels[:, 0] * len(generator.MOTION_NAMES) + labels[:, 1]) * len(generator.PLACE_NAMES) + labels[:, 2]


def cache_captions(path):
    """CAPTIONS different wordings of every combination: states [combination, CAPTIONS, 24, 384]."""
    if os.path.exists(path("captions.pt")):
        return
    rng, captions = random.Random(0), []
    for subject in generator.NAMES:
        for motion in generator.MOTION_NAMES:
            for place in generator.PLACE_NAMES:
                captions.append(generator.plain(subject, motion, place))
                captions += [generator.caption(subject, motion, place, rng, whole=i < WHOLE) for i in range(1, CAPTIONS)]
    encoder = TextEncoder()
    progress = data.Progress(1, every=15)
    states = []
    for i in range(0, len(captions), 256):
        states.append(encoder(captions[i:i + 256]).half())
        progress.add(256)
    data.save({"states": torch.cat(states).view(-1, CAPTIONS, 24, 384), "captions": captions}, path("captions.pt"))


def plainest(wording):
    """Which wording says the same as `wording` in the plainest way: the first, unless something is left unsaid."""
    return torch.where(wording < WHOLE, 0, wording)


def named(size, kind="latents"):
    """What the parts of one kind are called."""
    return f"{kind}-{size[0]}x{size[1]}"


def parts(path, name=named(generator.SIZES[0])):
    return sorted(glob.glob(path(f"{name}-*.pt")))


def main():
    parser = data.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=24 * PART)
    parser.add_argument("--first", type=int, default=0, help="number of the first part (to share the work)")
    parser.add_argument("--each", type=int, default=1, help="do every n-th part (to share the work)")
    parser.add_argument("--captions-only", action="store_true")
    parser.add_argument("--sizes", nargs="+", default=["x".join(map(str, size)) for size in generator.SIZES])
    options = parser.parse_args()
    path = data.start(options)
    cache_captions(path)
    if options.captions_only:
        return
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes]
    worlds = {size: generator.small_world(path("sprites"), size) for size in sizes}
    model = Autoencoder().to(memory_format=torch.channels_last).eval()
    model.load_state_dict(data.load(path("autoencoder.pt"))["model"])
    progress = data.Progress(1)
    for number in range(options.first, options.clips // PART, options.each):
        for index, (size, world) in enumerate(worlds.items()):
            # The first size is asked for most, and has twice the clips.
            if index > 0 and number % 2:
                continue
            for kind in KINDS:
                # The other kinds have more to show.
                if kind != "passing" or number % 2 == 0:
                    cache(path, world, model, size, kind, number, progress)


def cache(path, world, model, size, kind, number, progress):
    file = path(f"{named(size, kind)}-{number:03d}.pt")
    if os.path.exists(file):
        return
    g = torch.Generator().manual_seed(KINDS[kind] + number)
    labels = world.trained_labels(PART, g)
    part = {"labels": labels}
    if kind == "passing":
        part["after"], part["levels"] = world.labels_after(labels, g), levels(PART, g)
    latents = []
    for rows in torch.arange(PART).split(BATCH):
        # No period of a motion divides this.
        phase = None if kind == "latents" else 11.3 * torch.rand(len(rows), generator=g)
        if kind == "passing":
            clips = world.pass_over(labels[rows], part["after"][rows], part["levels"][rows], g, phase)
        else:
            clips = world.render(labels[rows], g, phase=phase)
        with torch.no_grad():
            latents.append(model.encode(clips).transpose(1, 2).half())
        progress.add(BATCH)
    data.save({"latents": torch.cat(latents), **part}, file)
    if not os.path.exists(path("statistics.pt")):
        x = torch.cat(latents).float()
        data.save({"mean": x.mean((0, 2, 3, 4)), "std": x.std((0, 2, 3, 4))}, path("statistics.pt"))


def levels(count, g):
    """How far clips have passed over at their beginning and at their end [count, 2]: half of them begin in the first scene, and half
    end in the second."""
    first, last, either = (torch.rand(count, generator=g) for _ in range(3))
    last = torch.where(either < 0.5, 1.0, last)
    first = torch.where((either * 4).long() % 2 == 0, 0.0, first * last)
    return torch.stack([first, last], 1)


if __name__ == "__main__":
    main()
