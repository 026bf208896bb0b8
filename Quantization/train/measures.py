"""Measures over time: does a clip flicker, and does its subject go where it should?"""

import torch


def flicker(clips):
    """Mean second difference in time over the picture's own contrast: [B]. Steady motion has little, flicker much."""
    second = (clips[:, 2:] - 2 * clips[:, 1:-1] + clips[:, :-2]).abs().mean((1, 2, 3, 4))
    return second / (clips.flatten(1).std(1) + 1e-3)


def track(clips):
    """Centre of what moves, frame by frame: [B, T, 2] in -1..1, x then y. What moves differs from the median in time."""
    _, _, _, height, width = clips.shape
    moving = (clips - clips.median(1, keepdim=True).values).abs().amax(2)
    weight = (moving - 0.12).clamp(min=0)
    x, y = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)
    total = weight.sum((2, 3)) + 1e-6
    return torch.stack([(weight.sum(2) * x).sum(2) / total, (weight.sum(3) * y).sum(2) / total], 2)


def track_error(clips, rendered):
    """Mean distance of two tracks, both centred, in picture heights: [B]. Where a subject starts is free."""
    a, b = track(clips), track(rendered)
    return (a - a.mean(1, keepdim=True) - b + b.mean(1, keepdim=True)).norm(dim=2).mean(1) / 2
