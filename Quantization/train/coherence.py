"""Does a video hold together? Measured on what the daemon makes: long videos, extensions, given frames, loops.

A seam is the change from the last frame of one window to the first of the next, in units of the clip's own mean change from
frame to frame; so is the joint of an extension, and the change from a loop's last frame to its first.
"""

import json
import random

import torch

from . import data, generator, judge, measures
from .daemon import Daemon, picture
from .evaluate import Nano, phrases, prompt_set, sheet

WINDOW, ADDED = 17, 12  # frames of the first window, frames that each further one adds


def changes(clip):
    """Mean absolute change from each frame to the next: [time - 1]."""
    return (clip[1:] - clip[:-1]).abs().mean((1, 2, 3))


def seam(clip, borders):
    """Mean change into the frames `borders`, over that of all frames."""
    change = changes(clip)
    return (change[[at - 1 for at in borders]].mean() / change.mean()).item()


def drift(clip):
    """PSNR in dB between the still part (the median in time) of the clip's first and last window."""
    first, last = (part.median(0).values for part in (clip[:WINDOW], clip[-WINDOW:]))
    return -10 * torch.log10((first - last).pow(2).mean() + 1e-10).item()


def middle(values):
    return sorted(values)[len(values) // 2]


def lasting(daemon, jury, labels, prompts, seconds, path):
    """Long videos: seams, who is still there at the end, what becomes of the place."""
    clips = [daemon(prompt, seconds=str(seconds), seed=i) for i, prompt in enumerate(prompts)]
    ends = [clip.unfold(0, WINDOW, WINDOW).movedim(-1, 1) for clip in clips]
    verdicts = torch.stack([jury.right(parts, row.expand(len(parts), 3)) for parts, row in zip(ends, labels)])
    subject, place = (100 * verdicts[:, :, k] for k in (0, 2))
    result = {
        "seam": middle([seam(clip, range(WINDOW, len(clip), ADDED)) for clip in clips]),
        "subject_at_the_end_percent": subject[:, -1].mean().item(),
        "subject_throughout_percent": subject.mean().item(),
        "motion_throughout_percent": 100 * verdicts[:, :, 1].mean().item(),
        "place_at_the_end_percent": place[:, -1].mean().item(),
        "background_psnr_db": middle([drift(clip) for clip in clips]),
        "flicker": measures.flicker(torch.stack(clips)).mean().item(),
    }
    sheet([clip[:: len(clip) // 24] for clip in clips], path("coherence-long.png"), 1)
    sheet([clip[8:56] for clip in clips], path("coherence-windows.png"), 1)
    return {f"{seconds} s, {len(clips)} prompts": result}


def extended(daemon, prompts):
    """Joints of one extension forward and one backward."""
    result = {"forward": [], "backward": []}
    for i, prompt in enumerate(prompts):
        source = daemon.make(prompt=prompt, seed=i)
        for direction, joints in result.items():
            longer = daemon.make("/v1/videos/extensions", video=source["id"], prompt=prompt, direction=direction)
            clip, before = daemon.clip(longer), daemon.clip(source)
            joints.append(seam(clip, [len(before) if direction == "forward" else len(clip) - len(before)]))
            daemon.forget(longer)
        daemon.forget(source)
    return {f"extensions, {len(prompts)} prompts": {f"joint_{key}": middle(joints) for key, joints in result.items()}}


def looped(daemon, prompts):
    closures = []
    for i, prompt in enumerate(prompts):
        clip = daemon(prompt, seed=i, loop=True)
        closures.append(((clip[-1] - clip[0]).abs().mean() / changes(clip).mean()).item())
    return {f"loops, {len(prompts)} prompts": {"closure": middle(closures), "closure_worst": max(closures)}}


def begun(daemon, jury, world, nano, labels, prompts, g):
    """A given first frame, beside the autoencoder's own reconstruction of it."""
    rendered = torch.cat([world.render(part, g) for part in labels.split(32)])
    own, back, clips = [], [], []
    for i, (prompt, clip) in enumerate(zip(prompts, rendered)):
        still = clip[:1].expand(WINDOW, -1, -1, -1)[None]
        own.append(data.psnr(nano.decode(nano.encode(still))[:, 0], clip[:1]))
        clips.append(daemon(prompt, seed=i, input_reference=picture(clip[0])))
        back.append(data.psnr(clips[-1][:1], clip[:1]))
    subject, motion, place = (100 * jury.right(torch.stack(clips), labels).mean(0)).tolist()
    return {f"first frame given, {len(prompts)} prompts": {
        "first_frame_psnr_db": sum(back) / len(back), "autoencoder_psnr_db": sum(own) / len(own),
        "subject_percent": subject, "motion_percent": motion, "place_percent": place}}


def main():
    parser = data.arguments(__doc__)
    parser.add_argument("--daemon", metavar="FOLDER", default="", help="programs; default .build/release")
    parser.add_argument("--models", help="the folder of model folders; default Models/")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--seconds", type=int, nargs="+", default=[60])
    parser.add_argument("--json", action="store_true", help="one object instead of text")
    options = parser.parse_args()
    path = data.start(options)
    jury, world = judge.load(path), generator.small_world(path("sprites"))
    g = torch.Generator().manual_seed(41)
    labels = prompt_set(world, options.prompts, g, False)
    prompts = phrases(labels, random.Random(41))
    table = {}
    with Daemon(options.daemon or None, options.models) as daemon:
        for seconds in options.seconds:
            table |= lasting(daemon, jury, labels, prompts, seconds, path)
        table |= extended(daemon, prompts)
        table |= looped(daemon, prompts)
        table |= begun(daemon, jury, world, Nano(path, "distilled"), labels, prompts, g)
    if options.json:
        print(json.dumps(table))
        return
    for name, figures in table.items():
        print(name)
        for figure, value in figures.items():
            print(f"  {figure:32s} {value:8.2f}")


if __name__ == "__main__":
    main()
