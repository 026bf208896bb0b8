"""Train the preview decoder: one normalised latent frame to the video frame it stands for."""

import torch
import torch.nn.functional as F
from torch import nn

from . import data, generator


class Preview(nn.Module):
    """Three convolutions and a pixel shuffle: latent frame k -> video frame 4k, in 0..1."""

    def __init__(self, channels=16, widths=(48, 48), scale=4):
        super().__init__()
        sizes = [channels, *widths, 3 * scale * scale]
        self.conv = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:])])
        self.scale = scale

    def forward(self, latent):
        for layer in self.conv[:-1]:
            latent = F.relu(layer(latent))
        return F.pixel_shuffle(self.conv[-1](latent), self.scale)
