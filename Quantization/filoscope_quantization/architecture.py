"""The tensors each network has, from its configuration: names and shapes as in the reference implementations
(diffusers' WanTransformer3DModel, transformers' BertModel, upstream taehv.py)."""

import math
from dataclasses import dataclass
from enum import Enum

from . import QuantizationError


class Kind(Enum):
    LINEAR = "linear"  # int8 unless kept float
    SENSITIVE = "sensitive linear"  # always float32
    EMBEDDING = "embedding"  # int8 rows unless kept float
    CONVOLUTION = "convolution"  # int8 where calibrated, else float32, re-laid
    PATCH = "patch embedding"  # float32, flattened to [d, C*pt*ph*pw]
    PLAIN = "plain"  # float32 as it is; the name is the whole tensor's


@dataclass(frozen=True)
class Layer:
    """`name` with `.weight` of torch's `shape` and perhaps `.bias`; for PLAIN the tensor itself."""

    name: str
    kind: Kind
    shape: tuple
    bias: bool = True
    past: int = 0  # of a convolution's inputs, those that come from a second image

    def tensors(self):
        """(name, shape) of the float tensors."""
        if self.kind is Kind.PLAIN:
            return [(self.name, self.shape)]
        tensors = [(f"{self.name}.weight", self.shape)]
        if self.bias:
            tensors.append((f"{self.name}.bias", (self.shape[0],)))
        return tensors


def field(config, section, name, low, high, multiple=1):
    """An integer field of the configuration; errors name it and its limits."""
    value = config.get(name)
    if type(value) is not int or not low <= value <= high or value % multiple:
        limits = f"an integer {low}...{high}" + (f", a multiple of {multiple}" if multiple > 1 else "")
        raise QuantizationError(f"{section}.{name} is {value!r}, must be {limits}")
    return value


def integers(config, section, name, count, low, high):
    values = config.get(name)
    if not isinstance(values, list) or len(values) != count or \
            any(type(value) is not int or not low <= value <= high for value in values):
        raise QuantizationError(f"{section}.{name} is {values!r}, must be {count} integers {low}...{high}")
    return values


def transformer_layers(config):
    """Of WanTransformer3DModel."""
    section = "transformer"
    heads = field(config, section, "num_attention_heads", 1, 64)
    head = field(config, section, "attention_head_dim", 16, 256, multiple=16)
    channels = field(config, section, "in_channels", 1, 256)
    out_channels = field(config, section, "out_channels", 1, 256)
    text = field(config, section, "text_dim", 1, 8192)
    frequencies = field(config, section, "freq_dim", 2, 4096, multiple=2)
    hidden = field(config, section, "ffn_dim", 1, 65536)
    count = field(config, section, "num_layers", 1, 128)
    patch = integers(config, section, "patch_size", 3, 1, 8)
    if config.get("qk_norm") != "rms_norm_across_heads":
        raise QuantizationError(f"{section}.qk_norm is {config.get('qk_norm')!r}, must be 'rms_norm_across_heads'")
    for unsupported in ("image_dim", "added_kv_proj_dim", "pos_embed_seq_len"):
        if config.get(unsupported) is not None:
            raise QuantizationError(f"{section}.{unsupported} is set: image-conditioned checkpoints are not supported")
    d = heads * head

    def sensitive(name, rows, columns):
        return Layer(name, Kind.SENSITIVE, (rows, columns))

    layers = [
        Layer("patch_embedding", Kind.PATCH, (d, channels, *patch)),
        sensitive("condition_embedder.time_embedder.linear_1", d, frequencies),
        sensitive("condition_embedder.time_embedder.linear_2", d, d),
        sensitive("condition_embedder.time_proj", 6 * d, d),
        sensitive("condition_embedder.text_embedder.linear_1", d, text),
        sensitive("condition_embedder.text_embedder.linear_2", d, d),
    ]
    for index in range(count):
        block = f"blocks.{index}"
        layers.append(Layer(f"{block}.scale_shift_table", Kind.PLAIN, (1, 6, d)))
        for attention in ("attn1", "attn2"):
            if attention == "attn2" and config.get("cross_attn_norm", True):
                layers += [Layer(f"{block}.norm2.{part}", Kind.PLAIN, (d,)) for part in ("weight", "bias")]
            layers += [Layer(f"{block}.{attention}.norm_{part}.weight", Kind.PLAIN, (d,)) for part in "qk"]
            layers += [Layer(f"{block}.{attention}.{part}", Kind.LINEAR, (d, d))
                       for part in ("to_q", "to_k", "to_v", "to_out.0")]
        layers.append(Layer(f"{block}.ffn.net.0.proj", Kind.LINEAR, (hidden, d)))
        layers.append(Layer(f"{block}.ffn.net.2", Kind.LINEAR, (d, hidden)))
    layers.append(Layer("scale_shift_table", Kind.PLAIN, (1, 2, d)))
    layers.append(sensitive("proj_out", out_channels * math.prod(patch), d))
    return layers


def bert_layers(config):
    """Of BertModel without its pooler."""
    section = "text_encoder"
    d = field(config, section, "hidden_size", 1, 4096)
    heads = field(config, section, "num_attention_heads", 1, 64)
    if d % heads or d // heads % 16:
        raise QuantizationError(f"{section}: {d} over {heads} heads is not a multiple of 16 per head")
    hidden = field(config, section, "intermediate_size", 1, 65536)
    vocabulary = field(config, section, "vocab_size", 5, 1 << 20)
    positions = field(config, section, "max_position_embeddings", 2, 1 << 16)
    # Two small tables whose error would be added to every token: float32.
    layers = [
        Layer("embeddings.word_embeddings", Kind.EMBEDDING, (vocabulary, d), bias=False),
        Layer("embeddings.position_embeddings.weight", Kind.PLAIN, (positions, d)),
        Layer("embeddings.token_type_embeddings.weight", Kind.PLAIN, (2, d)),
    ]

    def norm(name):
        return [Layer(f"{name}.LayerNorm.{part}", Kind.PLAIN, (d,)) for part in ("weight", "bias")]

    layers += norm("embeddings")
    for index in range(field(config, section, "num_hidden_layers", 1, 128)):
        layer = f"encoder.layer.{index}"
        layers += [Layer(f"{layer}.attention.self.{part}", Kind.LINEAR, (d, d)) for part in ("query", "key", "value")]
        layers += [Layer(f"{layer}.attention.output.dense", Kind.LINEAR, (d, d)), *norm(f"{layer}.attention.output")]
        layers.append(Layer(f"{layer}.intermediate.dense", Kind.LINEAR, (hidden, d)))
        layers += [Layer(f"{layer}.output.dense", Kind.LINEAR, (d, hidden)), *norm(f"{layer}.output")]
    return layers


# Left out of the model folder: the pooled sentence vector is not used, and position ids are 0, 1, 2, …
BERT_UNUSED = ("pooler.", "embeddings.position_ids", "embeddings.token_type_ids")


def autoencoder_stages(config, part):
    """(width, blocks, space, time, next width) of each stage of the `encoder` or `decoder`."""
    section = f"autoencoder.{part}"
    value = config.get(part)
    if not isinstance(value, dict) or not isinstance(value.get("blocks"), list):
        raise QuantizationError(f"{section} is {value!r}, must have widths, blocks, space and time")
    count = len(value["blocks"])
    if not 1 <= count <= 4:
        raise QuantizationError(f"{section}.blocks has {count} stages, must be 1...4")
    widths = integers(value, section, "widths", count + 1, 1, 1024)
    blocks = integers(value, section, "blocks", count, 0, 8)
    space = integers(value, section, "space", count, 1, 2)
    time = integers(value, section, "time", count, 1, 2)
    return list(zip(widths, blocks, space, time, widths[1:]))


def autoencoder_layers(config):
    """Of TAEHV. Modules without weights take an index, as upstream; the pixel (un)shuffle stands outside."""
    section = "autoencoder"
    patch = field(config, section, "patch_size", 1, 4)
    pixels = field(config, section, "image_channels", 3, 3) * patch * patch
    latent = field(config, section, "latent_channels", 1, 256)
    layers = []

    def convolution(name, out, count, kernel=3, bias=True, past=0):
        layers.append(Layer(name, Kind.CONVOLUTION, (out, count, kernel, kernel), bias, past))

    def memory_block(name, width):
        convolution(f"{name}.conv.0", width, 2 * width, past=width)
        convolution(f"{name}.conv.2", width, width)
        convolution(f"{name}.conv.4", width, width)

    if "encoder" in config:
        stages = autoencoder_stages(config, "encoder")
        convolution("encoder.0", stages[0][0], pixels)
        index = 2  # past the ReLU
        for width, blocks, _, time, following in stages:
            convolution(f"encoder.{index}.conv", width, width * time, kernel=1, bias=False, past=width * (time - 1))
            convolution(f"encoder.{index + 1}", following, width, bias=False)
            index += 2
            for _ in range(blocks):
                memory_block(f"encoder.{index}", following)
                index += 1
        convolution(f"encoder.{index}", latent, stages[-1][4])

    stages = autoencoder_stages(config, "decoder")
    convolution("decoder.1", stages[0][0], latent)  # past the clamp
    index = 3  # past the ReLU
    for width, blocks, _, time, following in stages:
        for _ in range(blocks):
            memory_block(f"decoder.{index}", width)
            index += 1
        convolution(f"decoder.{index + 1}.conv", width * time, width, kernel=1, bias=False)  # past the upsampling
        convolution(f"decoder.{index + 2}", following, width, bias=False)
        index += 3
    convolution(f"decoder.{index + 1}", pixels, stages[-1][4])  # past the ReLU
    return layers


def preview_layers(config, latent_channels):
    """Of the preview network: 3x3 convolutions, ReLU between them, pixel shuffle at the end."""
    section = "preview"
    widths = config.get("widths")
    integers(config, section, "widths", len(widths) if isinstance(widths, list) and widths else 1, 1, 1024)
    factor = field(config, section, "pixel_shuffle", 1, 8)
    chain = [latent_channels, *widths, 3 * factor * factor]
    return [Layer(f"conv.{index}", Kind.CONVOLUTION, (out, count, 3, 3))
            for index, (count, out) in enumerate(zip(chain, chain[1:]))]


def networks(description):
    """File name to layers for the whole model, from a description as in model.json."""
    for section, kinds in (("text_encoder", ("bert",)), ("transformer", None), ("autoencoder", ("taehv",)),
                           ("preview", ("conv",))):
        value = description.get(section)
        if not isinstance(value, dict):
            raise QuantizationError(f"{section} is missing from the description")
        if kinds and value.get("kind") not in kinds:
            raise QuantizationError(f"{section}.kind is {value.get('kind')!r}, must be one of {', '.join(kinds)}")
    latent = field(description["autoencoder"], "autoencoder", "latent_channels", 1, 256)
    if description["transformer"].get("in_channels") != latent:
        raise QuantizationError(f"transformer.in_channels differs from autoencoder.latent_channels, {latent}")
    if description["transformer"].get("text_dim") != description["text_encoder"].get("hidden_size"):
        raise QuantizationError("transformer.text_dim differs from text_encoder.hidden_size")
    return {
        "text_encoder.safetensors": bert_layers(description["text_encoder"]),
        "transformer.safetensors": transformer_layers(description["transformer"]),
        "autoencoder.safetensors": autoencoder_layers(description["autoencoder"]),
        "preview.safetensors": preview_layers(description["preview"], latent),
    }
