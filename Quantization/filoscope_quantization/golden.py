"""Goldens: small random models in the engine's layout, and what the reference implementations make of them."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import QuantizationError, calibration
from .architecture import Kind, networks
from .model_folder import Checkpoint, engine_tensors, text_encoder_folder, validate_description, write_model_folder
from .tensor_file import write_atomically, write_tensor_file

GOLDEN_VERSION = "1"
PROMPT = "a red fox jumps"
VOCABULARY = ("[PAD] [UNK] [CLS] [SEP] [MASK] a an the in on of , . ! ? red blue green big small fox cat dog apple "
              "star moon rocket jump run spin float fall ##s ##ing ##ed ##n sea sky field snow forest night and "
              "with while over under left right up down slow fast quick ##ly ##er b c d ##a ##b ##c 1 2 3").split()


@dataclass(frozen=True)
class Shape:
    """Dimensions of one golden model; `tiny` has nano's proportions."""

    heads: int = 2
    head_dim: int = 32
    layers: int = 2
    ffn: int = 160
    frequencies: int = 64
    channels: int = 4
    patch: tuple = (1, 2, 2)
    cross_attn_norm: bool = True
    frames: int = 3  # latent
    height: int = 8  # latent
    width: int = 12
    text_hidden: int = 64
    text_heads: int = 2
    text_layers: int = 2
    text_ffn: int = 128
    max_tokens: int = 12
    pixel_patch: int = 2
    encoder: tuple = ((16, 16, 24), (1, 1), (2, 1), (2, 2))  # widths, blocks, space, time
    decoder: tuple = ((32, 16, 16, 16), (1, 1, 1), (1, 2, 1), (2, 2, 1))
    decoded_frames: int = 3  # latent, of the autoencoder's own golden
    decoded_height: int = 6
    decoded_width: int = 5
    preview: tuple = (16, 16)
    preview_shuffle: int = 4
    prediction: str = "velocity"
    shift: float = 3.0
    steps: int = 4
    guidance: float = 2.5


SHAPES = {
    "tiny": Shape(),
    # Nothing is a multiple of what kernels like; clean-latent prediction; other space and time factors; no norm2.
    "odd": Shape(heads=3, head_dim=16, layers=1, ffn=100, frequencies=34, channels=6, patch=(1, 4, 4),
                 cross_attn_norm=False, frames=2, text_hidden=48, text_heads=3, text_layers=1, text_ffn=72,
                 max_tokens=9, pixel_patch=1, encoder=((8, 12, 20, 24), (1, 1, 0), (2, 2, 1), (1, 2, 2)),
                 decoder=((24, 20, 12, 9), (2, 1, 0), (2, 2, 1), (1, 2, 2)), decoded_frames=2, decoded_height=3,
                 decoded_width=7, preview=(20,), preview_shuffle=2, prediction="sample", shift=1.0, steps=3,
                 guidance=1.0),
}


def parse_shape(text):
    """'tiny,layers=3' to its name and Shape."""
    name, *changes = text.split(",")
    if name not in SHAPES:
        raise QuantizationError(f"--shape {name}: must be one of {', '.join(SHAPES)}")
    numbers = {entry.name: entry.type for entry in dataclasses.fields(Shape) if entry.type in (int, float)}
    values = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in numbers:
            raise QuantizationError(f"--shape: '{key}' must be one of {', '.join(numbers)}")
        try:
            values[key] = numbers[key](value)
        except ValueError as error:
            raise QuantizationError(f"--shape: {key} is '{value}', must be a number") from error
    return name, dataclasses.replace(SHAPES[name], **values)


def description(name, shape, generator):
    """As in model.json."""
    time, space = math.prod(shape.decoder[3]), shape.pixel_patch * math.prod(shape.decoder[2])
    frames = time * (shape.frames - 1) + 1
    parts = ("widths", "blocks", "space", "time")
    return {
        "name": f"golden-{name}", "family": "wan", "licence": "Apache-2.0",
        "description": "Random weights for tests; its pictures mean nothing.",
        "tokenizer": {"kind": "wordpiece", "lowercase": True, "max_tokens": shape.max_tokens},
        "text_encoder": {
            "kind": "bert", "hidden_size": shape.text_hidden, "num_hidden_layers": shape.text_layers,
            "num_attention_heads": shape.text_heads, "intermediate_size": shape.text_ffn, "layer_norm_eps": 1e-12,
            "vocab_size": len(VOCABULARY), "max_position_embeddings": 2 * shape.max_tokens},
        "transformer": {
            "patch_size": list(shape.patch), "num_attention_heads": shape.heads, "attention_head_dim": shape.head_dim,
            "in_channels": shape.channels, "out_channels": shape.channels, "text_dim": shape.text_hidden,
            "freq_dim": shape.frequencies, "ffn_dim": shape.ffn, "num_layers": shape.layers,
            "cross_attn_norm": shape.cross_attn_norm, "qk_norm": "rms_norm_across_heads", "eps": 1e-6,
            "rope_max_seq_len": 1024},
        "autoencoder": {
            "kind": "taehv", "patch_size": shape.pixel_patch, "image_channels": 3, "latent_channels": shape.channels,
            **{part: {key: list(values) for key, values in zip(parts, getattr(shape, part))}
               for part in ("encoder", "decoder")}},
        "preview": {"kind": "conv", "widths": list(shape.preview), "pixel_shuffle": shape.preview_shuffle},
        "latents": {"mean": [round(float(value), 4) for value in generator.normal(0, 0.2, shape.channels)],
                    "std": [round(float(value), 4) for value in generator.uniform(0.7, 1.4, shape.channels)]},
        "generation": {
            "prediction": shape.prediction, "shift": shape.shift,
            "steps": {"default": shape.steps, "min": 1, "max": 50},
            "guidance": {"default": shape.guidance, "min": 1, "max": 10}, "fps": 8,
            "sizes": [f"{shape.width * space}x{shape.height * space}"],
            "frames": {"min": min(5, frames), "max": frames, "step": time}},
        "words": {"subjects": ["fox", "cat"], "motions": {"jumping": ["jumps"]}, "places": {"snow": ["in the snow"]}},
    }


def random_weights(layers, generator):
    """Weights that keep activations near one in size, so that no part of a network is masked by another."""
    weights = {}
    for layer in layers:
        for name, shape in layer.tensors():
            values = generator.standard_normal(shape)
            if layer.kind is Kind.PLAIN and "embeddings" in name and "LayerNorm" not in name:
                values *= 0.3
            elif layer.kind is Kind.PLAIN and name.endswith("scale_shift_table"):
                values = 0.4 * values + 0.2
            elif layer.kind is Kind.PLAIN and name.endswith(".weight"):
                values = 1 + 0.1 * values
            elif name.endswith(".bias"):
                values *= 0.1
            elif layer.kind is Kind.CONVOLUTION:
                values *= math.sqrt(1.5 / math.prod(shape[1:]))
            elif layer.kind is not Kind.EMBEDDING:
                values /= math.sqrt(math.prod(shape[1:]))
            weights[name] = values.astype(np.float32)
    return weights


def _middle_range(weights, layers):
    """Makes a decoder's last convolution give mostly 0...1, so that clamping does not hide errors."""
    last = layers[-1].name
    weights[f"{last}.weight"] *= np.float32(0.15)
    weights[f"{last}.bias"] = np.float32(0.5) + weights[f"{last}.bias"]


def random_checkpoint(name, shape, seed):
    generator = np.random.default_rng([seed, *name.encode()])
    described = description(name, shape, generator)
    validate_description(described, f"golden {name}")
    layers_of = networks(described)
    weights = {file: random_weights(layers, generator) for file, layers in layers_of.items()}
    for file in ("autoencoder.safetensors", "preview.safetensors"):
        _middle_range(weights[file], layers_of[file])
    vocabulary = "".join(f"{token}\n" for token in VOCABULARY).encode("utf-8")
    return Checkpoint(described, weights, vocabulary), generator


def expected(checkpoint, shape, generator):
    """Inputs and the reference's outputs by name; README.md lists them."""
    import torch

    from .reference_networks import ReferenceModel

    model = ReferenceModel(checkpoint)

    def normal(*extents):
        return torch.from_numpy(generator.standard_normal(extents).astype(np.float32))

    ids = model.tokens(PROMPT)
    text = model.text(PROMPT)
    latents = normal(shape.channels, shape.frames, shape.height, shape.width)
    # The first frame known, the others under way.
    timesteps = torch.tensor([0.0] + [731.25] * (shape.frames - 1))
    tensors = {
        "text.input_ids": torch.tensor(ids, dtype=torch.int32),
        "text.output": text[:len(ids)],
        "transformer.hidden_states": latents,
        "transformer.timestep": model.token_timesteps(latents, timesteps),
        "transformer.timestep_frames": timesteps,
        "transformer.encoder_hidden_states": text,
        "transformer.output": model.forward(latents, timesteps, text),
        "transformer.output_unconditional": model.forward(latents, timesteps, model.text(None)),
    }
    decoded = normal(shape.channels, shape.decoded_frames, shape.decoded_height, shape.decoded_width)
    with torch.no_grad():
        frames = model.autoencoder.decode(decoded)
        tensors |= {
            "autoencoder.latents": decoded,
            "autoencoder.frames": frames,
            "autoencoder.encoded": model.autoencoder.encode(frames),
            "preview.latents": decoded,
            "preview.frames": model.preview.decode(decoded),
        }
    noise = normal(shape.channels, shape.frames, shape.height, shape.width)
    scheduler = model.scheduler(shape.steps)
    sampled = model.sample(noise, PROMPT, shape.steps, shape.guidance)
    tensors |= {
        "scheduler.sigmas": scheduler.sigmas,
        "scheduler.timesteps": scheduler.timesteps,
        "pipeline.noise": noise,
        "pipeline.latents": sampled,
        "pipeline.frames": model.decode(sampled),
    }
    for name, values in tensors.items():
        if not bool(torch.isfinite(values.double()).all()):
            raise QuantizationError(f"golden: {name} is not finite; try another seed")
    return {name: values.contiguous().numpy() if values.dtype is torch.int32 else values.float().contiguous().numpy()
            for name, values in tensors.items()}


def shuffle(pixels, factor):
    """[frames, height, width, 3 * factor * factor] to pictures [frames, height * factor, width * factor, 3] in 0...1."""
    frames, height, width, _ = pixels.shape
    split = np.clip(pixels, 0, 1).reshape(frames, height, width, 3, factor, factor)
    return np.ascontiguousarray(split.transpose(0, 1, 4, 2, 5, 3)).reshape(frames, height * factor, width * factor, 3)


def unshuffle(pictures, factor):
    """The inverse."""
    frames, height, width, _ = pictures.shape
    split = pictures.reshape(frames, height // factor, factor, width // factor, factor, 3)
    return np.ascontiguousarray(split.transpose(0, 1, 3, 5, 2, 4)).reshape(
        frames, height // factor, width // factor, 3 * factor * factor)


def write_int8_golden(folder, checkpoint, tensors, metadata):
    """Autoencoder and preview with every convolution in int8, and what the engine's arithmetic in numpy makes of them:
    not near, but the same, as sums are exact and every rounding is laid down."""
    latents = tensors["autoencoder.latents"]
    others = np.random.default_rng(3).standard_normal((3, *latents.shape)).astype(np.float32)
    found = calibration.calibrate(
        checkpoint, np.concatenate([latents[None], others]), minimum=0, report=lambda text: None)
    description = checkpoint.description
    config, factor = description["autoencoder"], description["autoencoder"]["patch_size"]
    runners = {}
    folder.mkdir(parents=True, exist_ok=True)
    for file, layers in found.items():
        stored, _ = engine_tensors(networks(description)[file], checkpoint.weights[file], True, (), layers)
        write_tensor_file(folder / file, stored, metadata)
        runners[file] = calibration.Runner(
            checkpoint.weights[file], {name: quantization for name, (quantization, _) in layers.items()},
            {name: bias for name, (_, bias) in layers.items()})
    decoder, drawer = runners["autoencoder.safetensors"], runners["preview.safetensors"]
    write_tensor_file(folder / "expected.safetensors", {
        "autoencoder.frames": shuffle(calibration.decode(config, latents, decoder), factor),
        "autoencoder.encoded": np.ascontiguousarray(
            calibration.encode(config, unshuffle(tensors["autoencoder.frames"], factor), decoder)),
        "preview.frames": shuffle(calibration.preview(description["preview"], tensors["preview.latents"], drawer),
                                  description["preview"]["pixel_shuffle"]),
    }, metadata)


TOKENIZER_TEXTS = [
    "", " ", "a red apple drifting from left to right on a green meadow", "A Red APPLE!", "kitten", "automobile",
    "a café in Zürich, naïve façade, Ångström, Ñandú, İstanbul", "e\u0301le\u0300ve (combining accents)",
    "don't stop -- it's 3.14 (or $5.00)!?...", "hello,world;a/b\\c [x] {y} <z> #1 @you 50% ~`^_|",
    "狐狸在雪中跳跃", "a 狐 fox 雪 snow", "東京タワー", "한국어 여우", "лиса бежит по снегу", "مرحبا بالعالم",
    "supercalifragilisticexpialidocious", "antidisestablishmentarianism unhappiness", "x" * 99, "x" * 101, "x" * 300,
    "tab\tnew\nline\rreturn", "nul\u0000bell\u0007del\u007fend", "zero\u200bwidth\u200djoin\ufeffbom", "\ufffd bad",
    "no\u00a0break\u2003em\u3000ideographic", "soft\u00adhyphen", "🦊 fox 🌙", "a 🦊🦊 two foxes", "ﬁne ligature ½ ²",
    "“quotes” – en — em … ellipsis", "ß straße STRASSE ẞ", "Σίσυφος ΣΑΣ",
    "the " * 40, "a blue fox jumping on the moon while it snows, seen from far away, at night, with stars and a rocket",
    "word" + "\u0300" * 5 + "s", "１２３ ＡＢＣ fullwidth", "i̇ dotted", "ǅ titlecase ǈ", "1st 2nd 3rd 42 1000000",
    "snake_case camelCase kebab-case", "\u202eright to left\u202c", "𝓯𝓪𝓷𝓬𝔂 math letters", "½¾ © ® ™ € £ ¥",
]


def write_tokenizer_golden(folder, max_tokens=24):
    """Text to ids by transformers' BertTokenizer with the bundled vocabulary, cut to max_tokens."""
    from .reference_networks import tokenizer

    vocabulary = (text_encoder_folder() / "vocab.txt").read_bytes()
    bert = tokenizer(vocabulary, lowercase=True)
    cases = [{"text": text, "ids": bert(text, truncation=True, max_length=max_tokens)["input_ids"],
              "full_ids": bert(text)["input_ids"]} for text in TOKENIZER_TEXTS]
    content = {
        "format": "filoscope.golden.tokenizer", "version": 1,
        "regenerate": "python -m filoscope_quantization golden --seed 1 --out Tests/Goldens",
        "vocabulary": "Models/nano/vocab.txt", "vocabulary_sha256": hashlib.sha256(vocabulary).hexdigest(),
        "lowercase": True, "max_tokens": max_tokens, "cases": cases,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "expected.json", [json.dumps(content, indent=0).encode("ascii"), b"\n"])


def write_goldens(out, seed, shapes=()):
    import diffusers
    import torch
    import transformers

    torch.set_num_threads(1)
    out = Path(out)
    for text in shapes or SHAPES:
        name, shape = parse_shape(text)
        checkpoint, generator = random_checkpoint(name, shape, seed)
        command = f"python -m filoscope_quantization golden --seed {seed} --shape {text} --out Tests/Goldens"
        metadata = {"filoscope.golden": GOLDEN_VERSION, "seed": str(seed), "shape": text, "regenerate": command}
        write_model_folder(checkpoint, out / name / "model", quantize=False, metadata=metadata)
        tensors = expected(checkpoint, shape, generator)
        write_tensor_file(out / name / "expected.safetensors", tensors, metadata | {
            "prompt": PROMPT, "steps": str(shape.steps), "guidance": str(shape.guidance),
            "torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__})
        write_int8_golden(out / name / "int8", checkpoint, tensors, metadata)
        size = sum(path.stat().st_size for path in (out / name).rglob("*") if path.is_file())
        print(f"wrote {out / name}: {size:,} bytes")
        for tensor, values in tensors.items():
            print(f"  {tensor:34} {str(list(values.shape)):18} mean {values.mean():8.4f} std {values.std():8.4f}")
    if not shapes:
        write_tokenizer_golden(out / "tokenizer")
        print(f"wrote {out / 'tokenizer'}")
