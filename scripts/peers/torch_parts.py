"""Wan's transformer in PyTorch over the weights of a model folder: int8 linears by torch._int_mm, the rest float32."""

import json
import math
import struct
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


class Linear:
    """Dynamic W8A8: one scale a row, torch._int_mm, back to float32."""

    def __init__(self, weight, scale, bias):
        self.weight, self.scale, self.bias = weight.contiguous().t(), scale, bias

    def __call__(self, x):
        largest = x.abs().amax(1, keepdim=True)
        q = (x * (127 / largest)).round().to(torch.int8)
        return torch._int_mm(q, self.weight).float().mul_(largest / 127).mul_(self.scale).add_(self.bias)


class File:
    """The tensors of a safetensors file by name, mapped."""

    TYPES = {"F32": torch.float32, "I8": torch.int8, "I32": torch.int32, "U8": torch.uint8}

    def __init__(self, path):
        data = Path(path).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        self.header = json.loads(data[8:8 + length])
        self.data = torch.frombuffer(bytearray(data[8 + length:]), dtype=torch.uint8)

    def __contains__(self, name):
        return name in self.header

    def __getitem__(self, name):
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        return self.data[begin:end].view(self.TYPES[entry["dtype"]]).reshape(entry["shape"])

    def linear(self, name):
        bias = self[f"{name}.bias"]
        weight = self[f"{name}.weight"]
        if weight.dtype != torch.int8:
            return lambda x: F.linear(x, weight, bias)
        # Blocks of 8 outputs by 8 inputs.
        rows = weight.permute(0, 2, 1, 3).reshape(weight.shape[0] * 8, -1)
        return Linear(rows, self[f"{name}.scale"], bias)


class Transformer:
    def __init__(self, folder):
        config = json.loads((Path(folder) / "model.json").read_text())["transformer"]
        file = File(Path(folder) / config["file"])
        self.heads, self.head = config["num_attention_heads"], config["attention_head_dim"]
        self.width, self.eps = self.heads * self.head, config["eps"]
        self.frequencies, self.patch = config["freq_dim"], config["patch_size"]
        self.channels = config["out_channels"]
        embedder = "condition_embedder."
        self.patches = (file["patch_embedding.weight"].flatten(1), file["patch_embedding.bias"])
        self.time = [file.linear(embedder + name) for name in
                     ("time_embedder.linear_1", "time_embedder.linear_2", "time_proj")]
        self.text = [file.linear(embedder + f"text_embedder.linear_{i}") for i in (1, 2)]
        self.blocks = [self.block(file, f"blocks.{i}.") for i in range(config["num_layers"])]
        self.table, self.out = file["scale_shift_table"].reshape(2, -1), file.linear("proj_out")

    @staticmethod
    def block(file, name):
        parts = {"table": file[name + "scale_shift_table"].reshape(6, -1)}
        for attention in ("attn1", "attn2"):
            for part in ("to_q", "to_k", "to_v", "to_out.0"):
                parts[f"{attention}.{part}"] = file.linear(f"{name}{attention}.{part}")
            for part in ("norm_q", "norm_k"):
                parts[f"{attention}.{part}"] = file[f"{name}{attention}.{part}.weight"]
        if f"{name}norm2.weight" in file:
            parts["norm2"] = (file[f"{name}norm2.weight"], file[f"{name}norm2.bias"])
        parts["up"], parts["down"] = file.linear(f"{name}ffn.net.0.proj"), file.linear(f"{name}ffn.net.2")
        return parts

    def context(self, states):
        """Keys and values of the text for every block, made once for a video as ours are."""
        text = self.text[1](F.gelu(self.text[0](states), approximate="tanh"))
        return [(self.split(self.rms(block["attn2.to_k"](text), block["attn2.norm_k"])),
                 self.split(block["attn2.to_v"](text))) for block in self.blocks]

    def split(self, x):
        return x.reshape(1, -1, self.heads, self.head).transpose(1, 2)

    def rms(self, x, weight):
        return F.rms_norm(x, (self.width,), weight, self.eps)

    def norm(self, x, shift, scale):
        return F.layer_norm(x, (self.width,), eps=self.eps) * (1 + scale) + shift

    def rotary(self, frames, rows, columns):
        side = self.head // 6
        angles = []
        for axis, pairs in ((0, self.head // 2 - 2 * side), (1, side), (2, side)):
            frequencies = 10000.0 ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
            positions = torch.arange((frames, rows, columns)[axis], dtype=torch.float64)
            shape = [1, 1, 1, pairs]
            shape[axis] = -1
            angles.append((positions[:, None] * frequencies).reshape(shape).expand(frames, rows, columns, pairs))
        angles = torch.cat(angles, 3).reshape(1, 1, -1, self.head // 2)
        return angles.cos().float(), angles.sin().float()

    @staticmethod
    def turn(x, cosines, sines):
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), -1).flatten(3)

    def __call__(self, latents, timestep, context):
        channels, frames, height, width = latents.shape
        _, tall, wide = self.patch
        grid = (frames, height // tall, width // wide)
        x = latents.reshape(channels, frames, grid[1], tall, grid[2], wide).permute(1, 2, 4, 0, 3, 5)
        x = F.linear(x.reshape(-1, channels * tall * wide), *self.patches)
        cosines, sines = self.rotary(*grid)
        half = self.frequencies // 2
        angles = timestep * torch.exp(-math.log(10000) * torch.arange(half) / half)
        waves = torch.cat((angles.cos(), angles.sin()))[None]
        time = self.time[1](F.silu(self.time[0](waves)))
        projected = self.time[2](F.silu(time)).reshape(6, -1)
        attention = F.scaled_dot_product_attention
        for block, (keys, values) in zip(self.blocks, context):
            m = block["table"] + projected
            n = self.norm(x, m[0], m[1])
            q = self.turn(self.split(self.rms(block["attn1.to_q"](n), block["attn1.norm_q"])), cosines, sines)
            k = self.turn(self.split(self.rms(block["attn1.to_k"](n), block["attn1.norm_k"])), cosines, sines)
            a = attention(q, k, self.split(block["attn1.to_v"](n))).transpose(1, 2).reshape(-1, self.width)
            x = x + block["attn1.to_out.0"](a) * m[2]
            n = F.layer_norm(x, (self.width,), *block["norm2"], self.eps) if "norm2" in block else x
            q = self.split(self.rms(block["attn2.to_q"](n), block["attn2.norm_q"]))
            a = attention(q, keys, values).transpose(1, 2).reshape(-1, self.width)
            x = x + block["attn2.to_out.0"](a)
            n = self.norm(x, m[3], m[4])
            x = x + block["down"](F.gelu(block["up"](n), approximate="tanh")) * m[5]
        m = self.table + time
        y = self.out(self.norm(x, m[0], m[1]))
        y = y.reshape(*grid, tall, wide, self.channels).permute(5, 0, 1, 3, 2, 4)
        return y.reshape(self.channels, frames, height, width)
