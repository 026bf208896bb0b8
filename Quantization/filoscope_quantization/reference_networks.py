"""The reference implementations: diffusers, transformers, a plain torch TAEHV. Float32, unbatched."""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .architecture import autoencoder_stages
from .model_folder import TEXT_FILE, VOCABULARY_FILE

# Nothing here is on the network: loading must not try.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _convolution(count, out, **options):
    return nn.Conv2d(count, out, 3, padding=1, **options)


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """A residual block that also sees its own input of the frame before."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Sequential(_convolution(2 * width, width), nn.ReLU(), _convolution(width, width), nn.ReLU(),
                                  _convolution(width, width))

    def forward(self, x):
        past = F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:-1]
        return F.relu(self.conv(torch.cat([x, past], 1)) + x)


class TPool(nn.Module):
    def __init__(self, width, factor):
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(width * factor, width, 1, bias=False)

    def forward(self, x):
        return self.conv(x.reshape(-1, self.factor * x.shape[1], *x.shape[2:]))


class TGrow(nn.Module):
    def __init__(self, width, factor):
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(width, width * factor, 1, bias=False)

    def forward(self, x):
        x = self.conv(x)
        return x.reshape(-1, x.shape[1] // self.factor, *x.shape[2:])


class TAEHV(nn.Module):
    """Upstream's graph and state-dict names with the widths, blocks and factors of a description. Time is the batch."""

    def __init__(self, config):
        super().__init__()
        self.patch_size = config["patch_size"]
        pixels = config["image_channels"] * self.patch_size**2
        latent = config["latent_channels"]
        self.time_factor = 1
        if "encoder" in config:
            stages = autoencoder_stages(config, "encoder")
            modules = [_convolution(pixels, stages[0][0]), nn.ReLU()]
            for width, blocks, space, time, following in stages:
                modules += [TPool(width, time), _convolution(width, following, stride=space, bias=False)]
                modules += [MemBlock(following) for _ in range(blocks)]
            self.encoder = nn.Sequential(*modules, _convolution(stages[-1][4], latent))
        stages = autoencoder_stages(config, "decoder")
        modules = [Clamp(), _convolution(latent, stages[0][0]), nn.ReLU()]
        for width, blocks, space, time, following in stages:
            self.time_factor *= time
            modules += [MemBlock(width) for _ in range(blocks)]
            modules += [nn.Upsample(scale_factor=space), TGrow(width, time), _convolution(width, following, bias=False)]
        self.decoder = nn.Sequential(*modules, nn.ReLU(), _convolution(stages[-1][4], pixels))

    def decode(self, latents):
        """[C, T, H, W] to [frames, height, width, 3] in 0...1; frames = factor * (T - 1) + 1."""
        x = self.decoder(latents.transpose(0, 1))
        x = F.pixel_shuffle(x.clamp(0, 1), self.patch_size)[self.time_factor - 1:]
        return x.permute(0, 2, 3, 1)

    def encode(self, frames):
        """The way back. Copies of frame 0 stand in front, so that latent 0 depends on frame 0 alone."""
        x = frames.permute(0, 3, 1, 2)
        x = torch.cat([x[:1]] * (self.time_factor - 1) + [x])
        return self.encoder(F.pixel_unshuffle(x, self.patch_size)).transpose(0, 1)


class Preview(nn.Module):
    """Normalised latent [C, T, H, W] to one RGB frame [H*n, W*n, 3] in 0...1 each."""

    def __init__(self, config, latent_channels):
        super().__init__()
        self.factor = config["pixel_shuffle"]
        widths = [latent_channels, *config["widths"], 3 * self.factor**2]
        self.conv = nn.ModuleList(_convolution(count, out) for count, out in zip(widths, widths[1:]))

    def decode(self, latents):
        x = latents.transpose(0, 1)
        for convolution in self.conv[:-1]:
            x = F.relu(convolution(x))
        return F.pixel_shuffle(self.conv[-1](x), self.factor).clamp(0, 1).permute(0, 2, 3, 1)


class ReferenceModel:
    """All networks of a float checkpoint, loaded strictly, and the sampler."""

    def __init__(self, checkpoint):
        self.description = description = checkpoint.description
        from diffusers import WanTransformer3DModel
        from transformers import BertConfig, BertModel

        config = {name: value for name, value in description["transformer"].items() if name != "file"}
        self.transformer = WanTransformer3DModel(**config)
        text = {name: value for name, value in description["text_encoder"].items() if name not in ("kind", "file")}
        self.text_encoder = BertModel(BertConfig(**text, hidden_act="gelu"), add_pooling_layer=False)
        self.autoencoder = TAEHV(description["autoencoder"])
        self.preview = Preview(description["preview"], description["autoencoder"]["latent_channels"])
        for network, file in ((self.transformer, "transformer.safetensors"), (self.text_encoder, TEXT_FILE),
                              (self.autoencoder, "autoencoder.safetensors"), (self.preview, "preview.safetensors")):
            weights = {name: torch.from_numpy(values.copy()) for name, values in checkpoint.weights[file].items()}
            network.load_state_dict(weights, strict=True)
            network.eval().requires_grad_(False)
        self.tokenizer = tokenizer(checkpoint.vocabulary, description["tokenizer"]["lowercase"])
        self.mean, self.std = (torch.tensor(description["latents"][name], dtype=torch.float32).view(-1, 1, 1, 1)
                               for name in ("mean", "std"))

    def tokens(self, prompt):
        """[CLS] … [SEP], cut to max_tokens."""
        return self.tokenizer(prompt, truncation=True,
                              max_length=self.description["tokenizer"]["max_tokens"])["input_ids"]

    @torch.no_grad()
    def text(self, prompt):
        """Last hidden states of the real tokens, then zeros: [max_tokens, hidden]. None gives zeros alone."""
        states = torch.zeros(self.description["tokenizer"]["max_tokens"],
                             self.description["text_encoder"]["hidden_size"])
        if prompt is not None:
            ids = torch.tensor([self.tokens(prompt)])
            states[:ids.shape[1]] = self.text_encoder(input_ids=ids).last_hidden_state[0]
        return states

    @torch.no_grad()
    def forward(self, latents, timesteps, text):
        """The transformer's output [C, T, H, W]; `timesteps` [T] are of latent frames, expanded to tokens as
        WanPipeline's expand_timesteps does."""
        return self.transformer(latents[None], self.token_timesteps(latents, timesteps)[None], text[None]).sample[0]

    def token_timesteps(self, latents, timesteps):
        pt, ph, pw = self.description["transformer"]["patch_size"]
        _, _, height, width = latents.shape
        return timesteps[::pt].repeat_interleave((height // ph) * (width // pw))

    def scheduler(self, steps):
        from diffusers import FlowMatchEulerDiscreteScheduler

        scheduler = FlowMatchEulerDiscreteScheduler(shift=self.description["generation"]["shift"])
        scheduler.set_timesteps(sigmas=np.linspace(1, 0, steps + 1)[:-1])
        return scheduler

    @torch.no_grad()
    def sample(self, noise, prompt, steps, guidance, observe=None):
        """Normalised latents from noise [C, T, H, W]. `observe(latents, timesteps)` sees each step's input."""
        text, empty = self.text(prompt), self.text(None)
        scheduler, latents = self.scheduler(steps), noise
        for index, timestep in enumerate(scheduler.timesteps):
            timesteps = timestep.float().expand(latents.shape[1])
            if observe:
                observe(latents, timesteps)
            output = self.forward(latents, timesteps, text)
            if guidance != 1:
                unguided = self.forward(latents, timesteps, empty)
                output = unguided + guidance * (output - unguided)
            if self.description["generation"]["prediction"] == "sample":
                output = (latents - output) / scheduler.sigmas[index]
            latents = scheduler.step(output, timestep, latents, return_dict=False)[0]
        return latents

    @torch.no_grad()
    def decode(self, latents):
        """Normalised latents to frames [frames, height, width, 3] in 0...1."""
        return self.autoencoder.decode(latents * self.std + self.mean)


def tokenizer(vocabulary, lowercase):
    """transformers' BertTokenizer over a vocabulary's bytes."""
    from transformers import BertTokenizer

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / VOCABULARY_FILE).write_bytes(vocabulary)
        return BertTokenizer.from_pretrained(folder, do_lower_case=lowercase)
