"""Wan's transformer, arranged so that it trains fast on a CPU, and the way back to its usual names.

The mathematics is that of diffusers' WanTransformer3DModel with a timestep per token. What
differs is only how it is laid out: queries, keys and values are one product, and modulation is
worked out per latent frame instead of per token. A test compares the two.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from . import autoencoder

NANO = {
    "patch_size": [1, 4, 4], "num_attention_heads": 3, "attention_head_dim": 64,
    "in_channels": autoencoder.NANO["latent_channels"], "out_channels": autoencoder.NANO["latent_channels"],
    "text_dim": 384, "freq_dim": 256, "ffn_dim": 768,
    "num_layers": 6, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "eps": 1e-6,
    "rope_max_seq_len": 1024,
}
EPS = 1e-6


def _rotary(head, frames, height, width):
    side = 2 * (head // 6)
    sizes = (head - 2 * side, side, side)

    def angles(count, size):
        return torch.outer(torch.arange(count).double(), 10000.0 ** (-torch.arange(0, size, 2).double() / size))

    t, y, x = (angles(count, size) for count, size in zip((frames, height, width), sizes))
    shape = (frames, height, width, -1)
    all_angles = torch.cat([t[:, None, None].expand(shape), y[None, :, None].expand(shape),
                            x[None, None].expand(shape)], -1).reshape(frames * height * width, head // 2)
    return all_angles.cos().float(), all_angles.sin().float()


def _rotate(x, cos, sin):
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), EPS)


class Block(nn.Module):
    def __init__(self, width, head, hidden):
        super().__init__()
        self.heads, self.head = width // head, head
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm_q, self.norm_k = Norm(width), Norm(width)
        self.text_q, self.text_kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.text_out = nn.Linear(width, width)
        self.text_norm_q, self.text_norm_k = Norm(width), Norm(width)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.table = nn.Parameter(0.3 * torch.randn(6, width) / width ** 0.5)
        self.table.data[[2, 5]] += 0.5

    def _heads(self, x):
        return x.view(x.shape[0], -1, self.heads, self.head).transpose(1, 2)

    def _attend(self, q, k, v):
        y = F.scaled_dot_product_attention(self._heads(q) if q.ndim == 3 else q, k, v)
        return y.transpose(1, 2).flatten(2)

    def forward(self, x, text, modulation, rotary, frames):
        batch, tokens, width = x.shape
        m = (modulation + self.table)[:, :, None]

        def normed(x, scale, shift):
            x = F.layer_norm(x.view(batch, frames, -1, width), (width,), eps=EPS)
            return (x * (1 + m[:, :, :, scale]) + m[:, :, :, shift]).view(batch, tokens, width)

        def gated(y, gate):
            return (y.view(batch, frames, -1, width) * m[:, :, :, gate]).view(batch, tokens, width)

        q, k, v = self.qkv(normed(x, 1, 0)).chunk(3, -1)
        q, k = _rotate(self._heads(self.norm_q(q)), *rotary), _rotate(self._heads(self.norm_k(k)), *rotary)
        x = x + gated(self.out(self._attend(q.to(v.dtype), k.to(v.dtype), self._heads(v))), 2)
        k, v = self.text_kv(text).chunk(2, -1)
        q, k = self.text_norm_q(self.text_q(self.norm2(x))), self.text_norm_k(k)
        x = x + self.text_out(self._attend(q.to(v.dtype), self._heads(k.to(v.dtype)), self._heads(v)))
        return x + gated(self.down(F.gelu(self.up(normed(x, 4, 3)), approximate="tanh")), 5)


class Transformer(nn.Module):
    def __init__(self, config=NANO):
        super().__init__()
        self.config = config
        self.head = config["attention_head_dim"]
        self.width = width = config["num_attention_heads"] * self.head
        self.patch = config["patch_size"][1]
        self.channels = config["in_channels"]
        self.frequencies = config["freq_dim"] // 2
        numbers = self.channels * self.patch ** 2
        self.patches = nn.Linear(numbers, width)
        self.time_1, self.time_2 = nn.Linear(2 * self.frequencies, width), nn.Linear(width, width)
        self.time_proj = nn.Linear(width, 6 * width)
        self.text_1, self.text_2 = nn.Linear(config["text_dim"], width), nn.Linear(width, width)
        self.blocks = nn.ModuleList([Block(width, self.head, config["ffn_dim"]) for _ in range(config["num_layers"])])
        self.table = nn.Parameter(torch.randn(2, width) / width ** 0.5)
        self.result = nn.Linear(width, numbers)
        # Begin as a network that ignores the time and says nothing.
        for layer in (self.time_proj, self.result):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._rotary = {}

    def forward(self, x, sigma, text):
        """x [B, C, T, H, W] noisy latents, sigma [B, T] in 0..1, text [B, tokens, text_dim]."""
        B, C, T, H, W = x.shape
        p = self.patch
        h, w = H // p, W // p
        if (T, h, w) not in self._rotary:
            self._rotary[T, h, w] = _rotary(self.head, T, h, w)
        x = x.view(B, C, T, h, p, w, p).permute(0, 2, 3, 5, 1, 4, 6).reshape(B, T * h * w, C * p * p)
        f = torch.exp(-math.log(10000) * torch.arange(self.frequencies) / self.frequencies)
        angles = (sigma * 1000)[..., None] * f
        time = self.time_2(F.silu(self.time_1(torch.cat([angles.cos(), angles.sin()], -1))))
        modulation = self.time_proj(F.silu(time)).view(B, T, 6, self.width).float()
        text = self.text_2(F.gelu(self.text_1(text), approximate="tanh"))
        x = self.patches(x)
        for block in self.blocks:
            x = block(x, text, modulation, self._rotary[T, h, w], T)
        shift, scale = (time[:, :, None] + self.table).float()[:, :, :, None].unbind(2)
        x = F.layer_norm(x.float(), (self.width,), eps=EPS).view(B, T, h * w, self.width) * (1 + scale) + shift
        return self.result(x).view(B, T, h, w, p, p, C).permute(0, 6, 1, 2, 4, 3, 5).reshape(B, C, T, H, W)


def _diffusers_parameters(model):
    """The parameters under the names that diffusers' WanTransformer3DModel has for them, in views of its shapes."""
    state = {}

    def put(name, layer):
        state[name + ".weight"], state[name + ".bias"] = layer.weight, layer.bias

    def put_parts(names, layer):
        for name, weight, bias in zip(names, layer.weight.chunk(len(names)), layer.bias.chunk(len(names))):
            state[name + ".weight"], state[name + ".bias"] = weight, bias

    state["patch_embedding.weight"] = model.patches.weight.view(-1, model.channels, 1, model.patch, model.patch)
    state["patch_embedding.bias"] = model.patches.bias
    embed = "condition_embedder."
    put(embed + "time_embedder.linear_1", model.time_1)
    put(embed + "time_embedder.linear_2", model.time_2)
    put(embed + "time_proj", model.time_proj)
    put(embed + "text_embedder.linear_1", model.text_1)
    put(embed + "text_embedder.linear_2", model.text_2)
    for i, block in enumerate(model.blocks):
        name = f"blocks.{i}."
        put_parts([name + "attn1.to_" + part for part in "qkv"], block.qkv)
        put(name + "attn1.to_out.0", block.out)
        state[name + "attn1.norm_q.weight"] = block.norm_q.weight
        state[name + "attn1.norm_k.weight"] = block.norm_k.weight
        put(name + "attn2.to_q", block.text_q)
        put_parts([name + "attn2.to_k", name + "attn2.to_v"], block.text_kv)
        put(name + "attn2.to_out.0", block.text_out)
        state[name + "attn2.norm_q.weight"] = block.text_norm_q.weight
        state[name + "attn2.norm_k.weight"] = block.text_norm_k.weight
        put(name + "norm2", block.norm2)
        put(name + "ffn.net.0.proj", block.up)
        put(name + "ffn.net.2", block.down)
        state[name + "scale_shift_table"] = block.table[None]
    state["scale_shift_table"] = model.table[None]
    put("proj_out", model.result)
    return state


def diffusers_state(model):
    """The weights under the names and shapes of diffusers' WanTransformer3DModel."""
    return {name: tensor.detach().float().contiguous().clone() for name, tensor in _diffusers_parameters(model).items()}


@torch.no_grad()
def load_diffusers_state(model, state):
    """The inverse of `diffusers_state`."""
    for name, parameter in _diffusers_parameters(model).items():
        parameter.copy_(state[name].view(parameter.shape))
