"""TAEHV's graph (causal memory blocks, pooling and growing in time), generic in its stages.

Parameter names and tensor layouts are those of upstream's taehv.py. Frames go in as
[batch, time, 3, height, width] in 0..1 with 4k + 1 frames; three copies of frame 0 are put in
front, so that latent frame 0 depends on frame 0 alone, and dropped again after decoding.
"""

import torch
import torch.nn.functional as F
from torch import nn

NANO = {
    "kind": "taehv",
    "patch_size": 2,
    "image_channels": 3,
    "latent_channels": 16,
    "encoder": {"widths": [32, 64, 64], "blocks": [1, 2], "space": [2, 1], "time": [2, 2]},
    "decoder": {"widths": [96, 64, 32, 32], "blocks": [2, 2, 1], "space": [1, 2, 1], "time": [2, 2, 1]},
}


def _conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * inputs, outputs), nn.ReLU(inplace=True),
            _conv(outputs, outputs), nn.ReLU(inplace=True),
            _conv(outputs, outputs))
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x, past):
        return F.relu(self.conv(torch.cat([x, past], 1)) + self.skip(x))


class TPool(nn.Module):
    """`stride` frames side by side in the channels, mixed to one."""

    def __init__(self, width, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x):
        return self.conv(x.reshape(-1, self.stride * x.shape[1], *x.shape[2:]))


class TGrow(nn.Module):
    """One frame to `stride` frames."""

    def __init__(self, width, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x):
        x = self.conv(x)
        return x.reshape(-1, x.shape[1] // self.stride, *x.shape[2:])


def _whole(stages, x, batch):
    """All frames at once: x is [batch * time, ...]."""
    for stage in stages:
        if isinstance(stage, MemBlock):
            frames = x.view(batch, -1, *x.shape[1:])
            past = F.pad(frames, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1].reshape(x.shape)
            x = stage(x, past)
        else:
            x = stage(x)
    return x


class Stream:
    """The same network, one frame at a time: what the engine does."""

    def __init__(self, stages):
        self.stages = list(stages)
        self.memory = [None] * len(self.stages)

    def push(self, frame):
        """Give one frame [batch, ...]; returns the frames that are ready."""
        return self._run(0, frame)

    def _run(self, index, x):
        while index < len(self.stages):
            stage = self.stages[index]
            if isinstance(stage, MemBlock):
                past = self.memory[index]
                self.memory[index] = x
                x = stage(x, torch.zeros_like(x) if past is None else past)
            elif isinstance(stage, TPool):
                waiting = (self.memory[index] or []) + [x]
                self.memory[index] = waiting
                if len(waiting) < stage.stride:
                    return []
                self.memory[index] = None
                x = stage.conv(torch.cat(waiting, 1))
            elif isinstance(stage, TGrow):
                parts = stage.conv(x).chunk(stage.stride, 1)
                return [out for part in parts for out in self._run(index + 1, part)]
            else:
                x = stage(x)
            index += 1
        return [x]


class Autoencoder(nn.Module):
    def __init__(self, config=NANO):
        super().__init__()
        self.config = config
        patch, latent = config["patch_size"], config["latent_channels"]
        pixels = config["image_channels"] * patch * patch

        side = config["encoder"]
        widths = side["widths"]
        layers = [nn.PixelUnshuffle(patch), _conv(pixels, widths[0]), nn.ReLU(inplace=True)]
        for i, blocks in enumerate(side["blocks"]):
            layers += [TPool(widths[i], side["time"][i]),
                       _conv(widths[i], widths[i + 1], stride=side["space"][i], bias=False)]
            layers += [MemBlock(widths[i + 1], widths[i + 1]) for _ in range(blocks)]
        self.encoder = nn.Sequential(*layers, _conv(widths[-1], latent))

        side = config["decoder"]
        widths = side["widths"]
        layers = [Clamp(), _conv(latent, widths[0]), nn.ReLU(inplace=True)]
        for i, blocks in enumerate(side["blocks"]):
            layers += [MemBlock(widths[i], widths[i]) for _ in range(blocks)]
            layers += [nn.Upsample(scale_factor=side["space"][i]), TGrow(widths[i], side["time"][i]),
                       _conv(widths[i], widths[i + 1], bias=False)]
        self.decoder = nn.Sequential(*layers, nn.ReLU(inplace=True), _conv(widths[-1], pixels), nn.PixelShuffle(patch))

        self.time = 1
        for stride in config["encoder"]["time"]:
            self.time *= stride
        self.initialise()

    def encode(self, frames):
        batch = frames.shape[0]
        x = torch.cat([frames[:, :1]] * (self.time - 1) + [frames], 1).flatten(0, 1)
        x = _whole(self.encoder, x.contiguous(memory_format=torch.channels_last), batch)
        return x.view(batch, -1, *x.shape[1:])

    def decode(self, latents):
        batch = latents.shape[0]
        x = _whole(self.decoder, latents.flatten(0, 1).contiguous(memory_format=torch.channels_last), batch)
        return x.view(batch, -1, *x.shape[1:])[:, self.time - 1:]

    def encode_streaming(self, frames):
        stream = Stream(self.encoder)
        frames = [frames[:, 0]] * (self.time - 1) + list(frames.unbind(1))
        return torch.stack([out for frame in frames for out in stream.push(frame)], 1)

    def decode_streaming(self, latents):
        stream = Stream(self.decoder)
        frames = [out for latent in latents.unbind(1) for out in stream.push(latent)]
        return torch.stack(frames[self.time - 1:], 1)

    def initialise(self):
        """Blocks begin near the identity, pooling near the mean, growing near repetition."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, MemBlock):
                module.conv[-1].weight.data.mul_(0.1)
            elif isinstance(module, (TPool, TGrow)):
                weight = module.conv.weight.data.mul_(0.1)
                width = min(weight.shape[:2])
                each = torch.arange(width)
                for k in range(module.stride):
                    if isinstance(module, TPool):
                        weight[each, each + k * width, 0, 0] += 1 / module.stride
                    else:
                        weight[each + k * width, each, 0, 0] += 1
        self.encoder[-1].weight.data.mul_(0.5)
        last = self.decoder[-2]
        last.weight.data.mul_(0.3)
        last.bias.data.fill_(0.5)
