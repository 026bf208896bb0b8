"""Full-size checkpoints of random weights, for measuring speed and memory: what a network of that shape costs does not
depend on what it learnt. Written tensor by tensor, in the memory of the largest one."""

import hashlib
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np

from . import QuantizationError
from .architecture import Kind, autoencoder_layers, preview_layers, transformer_layers
from .layout import block_matrix, convolution_float, convolution_int8, pad_vector
from .model_folder import VOCABULARY_FILE, file_identity, read_json
from .tensor_file import ALIGNMENT, LAYOUT_VERSION, write_tensor_file

TRANSFORMER_FILE = "transformer.safetensors"
_WAN_1_3B = {
    "patch_size": [1, 2, 2], "num_attention_heads": 12, "attention_head_dim": 128, "in_channels": 16,
    "out_channels": 16, "text_dim": 4096, "freq_dim": 256, "ffn_dim": 8960, "num_layers": 30, "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads", "eps": 1e-6, "rope_max_seq_len": 1024,
}
# Name to transformer configuration and the length texts are padded to.
MODELS = {
    "wan2.1-t2v-1.3b": (_WAN_1_3B, 512),
    # Of the proportions the benchmarks call nano-like.
    "nano-like": ({**_WAN_1_3B, "num_attention_heads": 6, "attention_head_dim": 64, "text_dim": 384, "ffn_dim": 1536,
                   "num_layers": 12}, 24),
}


# TAEHV for Wan 2.1 (madebyollin/taehv, `taew2_1`), and a preview network that suits its latents.
_AUTOENCODER = {
    "kind": "taehv", "patch_size": 1, "image_channels": 3, "latent_channels": 16,
    "encoder": {"widths": [64, 64, 64, 64], "blocks": [3, 3, 3], "space": [2, 2, 2], "time": [2, 2, 1]},
    "decoder": {"widths": [256, 128, 64, 64], "blocks": [3, 3, 3], "space": [2, 2, 2], "time": [1, 2, 2]},
}
_PREVIEW = {"kind": "conv", "widths": [48, 48], "pixel_shuffle": 4}


def write_random_model(name, out_dir, seed=1, like=None, layers=None):
    """A folder with a random transformer of that name and a model.json that describes it alone: no text encoder, no
    autoencoder. `filoscope-bench step` opens it, the daemon refuses it. With `like`, a model folder, a whole model that
    the daemon makes videos with: that folder's text encoder (and a transformer that reads its states), a random TAEHV of
    Wan's size, 256x160 and 17 frames. `layers` is how many of the transformer's are kept."""
    if name not in MODELS:
        raise QuantizationError(f"no random model is called {name!r}; there are {', '.join(MODELS)}")
    config, tokens = MODELS[name]
    if layers is not None:
        if not 1 <= layers <= 128:
            raise QuantizationError(f"--layers: 1 to 128, not {layers}")
        config = {**config, "num_layers": layers}
    folder = Path(out_dir)
    whole = {} if like is None else read_json(Path(like) / "model.json")
    if like is not None:
        config = {**config, "text_dim": whole["text_encoder"]["hidden_size"]}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TRANSFORMER_FILE
    size, digest = _write(path, transformer_layers(config), seed)
    description = {
        "format": 1, "name": f"{name}-random", "family": "wan",
        "description": "Random weights, for benchmarks; a transformer alone",
        "tokenizer": {"max_tokens": tokens}, "transformer": {**config, "file": TRANSFORMER_FILE},
        "files": {TRANSFORMER_FILE: {"bytes": size, "sha256": digest}},
    }
    if like is not None:
        size += _complete(description, whole, Path(like), folder, seed)
    (folder / "model.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return size


def _complete(description, whole, like, folder, seed):
    """Writes what is missing to a whole model and describes it; returns its bytes."""
    generator = np.random.Generator(np.random.Philox(seed + 1))
    channels = _AUTOENCODER["latent_channels"]
    description |= {
        "licence": "none", "description": "Random weights, for benchmarks: its pictures mean nothing",
        "tokenizer": whole["tokenizer"], "text_encoder": whole["text_encoder"],
        "autoencoder": {**_AUTOENCODER, "file": "autoencoder.safetensors"},
        "preview": {**_PREVIEW, "file": "preview.safetensors"},
        "latents": {"mean": [0.0] * channels, "std": [1.0] * channels},
        "generation": {
            "prediction": "velocity", "shift": 3.0, "steps": {"default": 30, "min": 1, "max": 50},
            "guidance": {"default": 5.0, "min": 1, "max": 10}, "fps": 16, "sizes": ["256x160"],
            "frames": {"min": 5, "max": 17, "step": 4}},
    }
    for file in (whole["text_encoder"]["file"], VOCABULARY_FILE):
        shutil.copyfile(like / file, folder / file)
    for file, layers in (("autoencoder.safetensors", autoencoder_layers(_AUTOENCODER)),
                         ("preview.safetensors", preview_layers(_PREVIEW, channels))):
        tensors = {}
        for layer in layers:
            weight = generator.standard_normal(layer.shape, np.float32) / np.float32(math.sqrt(math.prod(layer.shape[1:])))
            bias = np.zeros(layer.shape[0], np.float32)
            if layer.name.startswith("decoder."):
                # Bytes of -2.56...2.54; what stands behind a ReLU has only the upper half, which costs the same.
                tensors |= convolution_int8(layer.name, weight, bias, layer.past, (0.02, 128))
            else:
                tensors |= convolution_float(layer.name, weight, bias if layer.bias else None)
        write_tensor_file(folder / file, tensors)
    files = [whole["text_encoder"]["file"], VOCABULARY_FILE, "autoencoder.safetensors", "preview.safetensors"]
    description["files"] |= {file: file_identity(folder / file) for file in files}
    return sum(description["files"][file]["bytes"] for file in files)


def _plan(layers):
    """(name, dtype, shape, layer, part) of every tensor, without its values."""
    for layer in layers:
        rows = layer.shape[0]
        if layer.kind is Kind.PLAIN:
            yield layer.name, "F32", layer.shape, layer, "plain"
        elif layer.kind is Kind.LINEAR:
            out, count = -(-rows // 8) * 8, -(-layer.shape[1] // 16) * 16
            yield f"{layer.name}.weight", "I8", (out // 8, count // 8, 8, 8), layer, "weight"
            for part, dtype in (("scale", "F32"), ("sum", "I32"), ("bias", "F32")):
                yield f"{layer.name}.{part}", dtype, (out,), layer, part
        else:
            yield f"{layer.name}.weight", "F32", (rows, math.prod(layer.shape[1:])), layer, "float"
            yield f"{layer.name}.bias", "F32", (rows,), layer, "bias"


def _write(path, layers, seed):
    """The file in one pass; returns its size and SHA-256."""
    plan, entries, position = [], {}, 0
    for item in _plan(layers):
        name, dtype, shape = item[:3]
        count = math.prod(shape) * (1 if dtype == "I8" else 4)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + count]}
        position += count
        filler = -position % ALIGNMENT
        plan.append((item, filler))
        if filler:
            entries[f"_pad.{len(plan)}"] = {"dtype": "I8", "shape": [filler],
                                            "data_offsets": [position, position + filler]}
            position += filler
    entries["_pad.end"] = {"dtype": "I8", "shape": [ALIGNMENT], "data_offsets": [position, position + ALIGNMENT]}
    header = {"__metadata__": {"filoscope.layout": LAYOUT_VERSION, "random": str(seed)}, **entries}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)

    temporary = Path(f"{path}.partial")
    digest, size = hashlib.sha256(), 0
    generator = np.random.Generator(np.random.Philox(seed))
    with open(temporary, "wb") as file:
        def put(data):
            nonlocal size
            file.write(data)
            digest.update(data)
            size += len(data)  # of bytes, every time

        put(len(text).to_bytes(8, "little"))
        put(text)
        sums = None
        for (_, _, shape, layer, part), filler in plan:
            if part == "weight":
                values, sums = _matrix(generator, layer.shape)
            else:
                values = _values(generator, layer, part, shape, sums)
            put(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
            put(bytes(filler))
        put(bytes(ALIGNMENT))
    os.replace(temporary, path)
    return size, digest.hexdigest()


def _matrix(generator, shape):
    """Blocks and row sums of int8 values in -127...127, about normal."""
    rows = np.empty(shape, np.int8)
    sums = np.empty(shape[0], np.int32)
    for start in range(0, shape[0], 256):
        part = generator.standard_normal((min(256, shape[0] - start), shape[1]), np.float32) * np.float32(32)
        rows[start:start + len(part)] = np.clip(np.rint(part), -127, 127)
        sums[start:start + len(part)] = rows[start:start + len(part)].sum(axis=1, dtype=np.int32)
    return block_matrix(rows), sums


def _values(generator, layer, part, shape, sums):
    if part == "sum":
        return pad_vector(sums, 8)
    if part == "scale":  # outputs as large as inputs
        values = np.zeros(shape, np.float32)
        values[:layer.shape[0]] = 1 / (32 * math.sqrt(layer.shape[1]))
        return values
    values = generator.standard_normal(shape, np.float32)
    if part == "plain":
        return values * np.float32(0.1) + np.float32(1 if layer.name.endswith("weight") else 0)
    if part == "float":
        return values / np.float32(math.sqrt(shape[1]))
    values *= np.float32(0.1)  # bias
    values[layer.shape[0]:] = 0
    return values
