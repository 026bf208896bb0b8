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
    "patch_size": 4,
    "image_channels": 3,
    "latent_channels": 24,
    "encoder": {"widths": [64, 96, 96], "blocks": [1, 2], "space": [1, 1], "time": [2, 2]},
    "decoder": {"widths": [96, 96, 64, 64], "blocks": [2, 2, 1], "space": [1, 1, 1], "time": [2, 2, 1]},
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

    @torch.no_grad()
    def initialise_linear(self, clips, spread=0.5):
        """Begin as principal components: of all linear codes of this size, the best one for `clips`.

        Only for two halvings of time and no change of space after the patch. The components are rotated so that every
        channel is equally strong: distances between latents are then those between pictures. What a ReLU would cut is
        lifted by constants that ride along and are taken off at the end. `spread` is the latents' standard deviation.
        """
        encoder, decoder = self.config["encoder"], self.config["decoder"]
        if self.time != 4 or any(s != 1 for s in encoder["space"] + decoder["space"]):
            raise ValueError("a linear beginning needs time factor 4 and no change of space after the patch")
        patch, channels = self.config["patch_size"], self.config["latent_channels"]
        frames = torch.cat([clips[:, :1]] * 3 + [clips], 1)
        pixels = F.pixel_unshuffle(frames.flatten(0, 1), patch)
        size, side = pixels.shape[1], pixels.shape[-1]
        blocks = pixels.view(len(clips), -1, 4 * size, side, side).permute(0, 1, 3, 4, 2).reshape(-1, 4 * size)
        mean, basis = _principal(blocks, channels)
        turn = torch.linalg.qr(torch.randn(channels, channels, generator=torch.Generator().manual_seed(0)))[0]
        basis = basis @ turn
        scale = spread / ((blocks - mean) @ basis).std()

        # The encoder: each layer in turn keeps the principal components of what reaches it; the last is fitted.
        x = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        batch = len(clips)
        for index, stage in enumerate(self.encoder):
            following = self.encoder[index + 1] if index + 1 < len(self.encoder) else None
            if isinstance(stage, MemBlock):
                past = F.pad(x.view(batch, -1, *x.shape[1:]), (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1].reshape(x.shape)
                stage.conv[-1].bias += (-torch.quantile(x.flatten(2).transpose(0, 1).flatten(1)[:, ::7], 0.0005, 1)).clamp(min=0)
                _wake(stage, x, past)
                x = stage(x, past)
                continue
            if isinstance(stage, TPool):
                pairs = _rows(x.reshape(-1, 2 * x.shape[1], *x.shape[2:]))
                kept = min(stage.conv.out_channels - 8, pairs.shape[1])
                stage.conv.weight[:kept, :, 0, 0] = _principal(pairs, kept)[1].T
            elif isinstance(stage, nn.Conv2d) and following is None:
                target = (blocks - mean) @ basis * scale
                rows = torch.cat([_rows(x), torch.ones(len(target), 1)], 1)
                fit = _fit(rows, target)
                stage.weight.mul_(0.02)
                stage.weight[:, :, 1, 1] = fit[:-1].T
                stage.bias.copy_(fit[-1])
            elif isinstance(stage, nn.Conv2d):
                _pass(stage, min(stage.in_channels, stage.out_channels))
            x = stage(x)

        # The decoder: the code rides along, lifted, in one slot per frame; a one beside it carries the means.
        lift = 3.0
        convolutions = [m for m in self.decoder if isinstance(m, nn.Conv2d)]
        grows = [m for m in self.decoder if isinstance(m, TGrow)]
        slots = channels + 1
        first = convolutions[0]
        first.weight[:slots] = 0
        first.weight[:channels, :, 1, 1] = torch.eye(channels)
        first.bias[:channels], first.bias[channels] = lift, 1.0
        width = grows[0].conv.in_channels
        early = grows[0].conv.weight.view(2, width, width)
        early[:, :2 * slots] = 0
        for frame in range(2):
            early[frame, frame * slots:(frame + 1) * slots, :slots] = torch.eye(slots)
        _pass(convolutions[1], 2 * slots)
        width = grows[1].conv.in_channels
        late = grows[1].conv.weight.view(2, width, width)
        late[:, :size] = 0
        back = (basis / scale).view(4, size, channels)
        for pair in range(2):
            for frame in range(2):
                matrix = back[2 * pair + frame]
                late[frame, :size, pair * slots:pair * slots + channels] = matrix
                late[frame, :size, pair * slots + channels] = mean.view(4, size)[2 * pair + frame] - matrix.sum(1) * lift
        _pass(convolutions[2], size)
        for grow in grows[2:]:
            grow.conv.weight[:size, :, 0, 0] = torch.eye(*grow.conv.weight.shape[:2])[:size]
        for convolution in convolutions[3:-1]:
            _pass(convolution, size)
        last = convolutions[-1]
        last.weight.mul_(0.02)
        last.weight[:, :, 1, 1] += torch.eye(*last.weight.shape[:2])
        last.bias.zero_()
        for stage in self.decoder:
            if isinstance(stage, MemBlock):
                stage.conv[-1].weight.zero_()
        self.wake_decoder(self.encode(clips))

    @torch.no_grad()
    def wake_decoder(self, latents, alive=0.01):
        """Begins those memory blocks anew whose inner ReLUs give nothing: they add nothing at first, but can learn."""
        batch = latents.shape[0]
        x = latents.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        woken = 0
        for stage in self.decoder:
            if isinstance(stage, MemBlock):
                past = F.pad(x.view(batch, -1, *x.shape[1:]), (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1].reshape(x.shape)
                if (stage.conv[:4](torch.cat([x, past], 1)) > 0).float().mean() < alive or not stage.conv[-1].weight.any():
                    _wake(stage, x, past)
                    woken += 1
                x = stage(x, past)
            else:
                x = stage(x)
        return woken


def _rows(x):
    """Channels last, one row per place."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _principal(rows, count):
    """Mean and the first `count` principal directions [width, count]."""
    mean = rows.mean(0)
    centred = (rows - mean).double()
    return mean, torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :count].float()


def _fit(rows, target):
    """Least squares, in double."""
    rows = rows.double()
    ridge = 1e-6 * len(rows) * torch.eye(rows.shape[1], dtype=torch.double)
    return torch.linalg.solve(rows.T @ rows + ridge, rows.T @ target.double()).float()


def _wake(block, x, past):
    """Inner layers of mean 0 and deviation 1 over `x`, whatever its own mean: else lifted inputs leave ReLUs dead. The last
    begins at 0, so that the block adds nothing."""
    y = torch.cat([x, past], 1)
    for convolution in (block.conv[0], block.conv[2]):
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        convolution.bias.zero_()
        y = convolution(y)
        mean, deviation = y.mean((0, 2, 3)), y.std((0, 2, 3)) + 1e-3
        convolution.weight /= deviation[:, None, None, None]
        convolution.bias.copy_(-mean / deviation)
        y = F.relu((y - mean[:, None, None]) / deviation[:, None, None])
    block.conv[-1].weight.zero_()


def _pass(convolution, count):
    """The first `count` channels go through unchanged; the others begin faint."""
    convolution.weight.mul_(0.1)
    convolution.weight[:count] = 0
    if convolution.bias is not None:
        convolution.bias[:count] = 0
    convolution.weight[torch.arange(count), torch.arange(count), 1, 1] = 1
