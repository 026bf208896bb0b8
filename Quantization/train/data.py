"""Paths, progress lines and checkpoints shared by every stage."""

import argparse
import os
import time

import torch

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def arguments(description, minutes=None):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", default=os.path.join(ROOT, "checkpoints"), help="where checkpoints are kept")
    parser.add_argument("--threads", type=int, default=1)
    if minutes is not None:
        parser.add_argument("--minutes", type=float, default=minutes,
                            help="how long the whole stage trains, earlier runs included")
    return parser


def start(options, seed=0):
    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    os.makedirs(options.folder, exist_ok=True)
    return lambda name: os.path.join(options.folder, name)


def save(state, path):
    torch.save(state, path + ".part")
    os.replace(path + ".part", path)


def load(path):
    return torch.load(path, weights_only=True) if os.path.exists(path) else None


class Progress:
    """Counts clips and minutes over all runs of a stage and prints one line now and then."""

    def __init__(self, minutes, clips=0, before=0.0, every=30.0):
        self.minutes, self.clips, self.before, self.every = minutes, clips, before, every
        self.begun = self.printed = time.time()
        self.clips_before = clips

    @property
    def elapsed(self):
        return self.before + (time.time() - self.begun) / 60

    @property
    def part(self):
        return min(1.0, self.elapsed / self.minutes)

    def add(self, clips, **figures):
        self.clips += clips
        now = time.time()
        if now - self.printed < self.every:
            return False
        self.printed = now
        rate = (self.clips - self.clips_before) / (now - self.begun)
        text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"{time.strftime('%H:%M:%S')}  {self.clips} clips  {rate:.1f} clips/s  "
              f"{max(0.0, self.minutes - self.elapsed):.1f} min left  {text}", flush=True)
        return True


def psnr(a, b):
    return (-10 * torch.log10((a - b).pow(2).flatten(1).mean(1))).mean().item()
