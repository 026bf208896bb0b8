import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from filoscope_quantization.__main__ import main
from filoscope_quantization.architecture import Kind, networks
from filoscope_quantization.model_folder import load_checkpoint, load_model_folder
from filoscope_quantization.tensor_file import TensorFile

FILES = ["autoencoder.safetensors", "preview.safetensors", "text_encoder.safetensors", "transformer.safetensors",
         "vocab.txt"]


def convert(folder, *options):
    out = folder.path.parent / "model"
    assert main(["convert", str(folder.write()), str(out), *options]) == 0
    return out


def refused(folder, capsys, *options):
    """The message of a conversion that fails and leaves no model.json."""
    out = folder.path.parent / "model"
    assert main(["convert", str(folder.path), str(out), *options]) == 1
    assert not (out / "model.json").exists()
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    return message


def test_float_conversion_keeps_every_value(each_folder):
    model = load_model_folder(convert(each_folder, "--float"))
    for file, weights in each_folder.weights.items():
        assert weights.keys() == model.weights[file].keys()
        for name, values in weights.items():
            assert np.array_equal(model.weights[file][name], values), name


def test_int8_conversion_is_near_and_as_the_engine_wants_it(each_folder):
    out = convert(each_folder)
    model = load_model_folder(out)
    for file, layers in networks(each_folder.checkpoint.description).items():
        stored, official = TensorFile(out / file), load_file(out / file)
        for layer in layers:
            for name, shape in layer.tensors():
                weight, back = each_folder.weights[file][name], model.weights[file][name]
                quantized = layer.kind in (Kind.LINEAR, Kind.EMBEDDING) and name.endswith(".weight")
                assert (stored.dtype(name) == "I8") == quantized, name
                assert stored.offset(name) % 64 == 0
                if quantized:
                    assert official[name].min() >= -127
                    assert np.abs(back - weight).max() <= np.abs(weight).max() / 250
                    assert not np.array_equal(back, weight)
                else:
                    assert np.array_equal(back, weight), name
                if quantized and layer.kind is Kind.LINEAR:
                    sums = official[name].astype(int).sum(axis=(1, 3)).reshape(-1)
                    assert np.array_equal(official[f"{layer.name}.sum"], sums)
                    assert official[name].shape == (-(-shape[0] // 8), -(-shape[1] // 16) * 2, 8, 8)
                    assert official[f"{layer.name}.bias"].shape == official[f"{layer.name}.scale"].shape == sums.shape


def test_sensitive_layers_stay_float(folder):
    transformer = TensorFile(convert(folder) / "transformer.safetensors")
    for name in ("patch_embedding", "proj_out", "condition_embedder.time_proj",
                 "condition_embedder.text_embedder.linear_1", "condition_embedder.time_embedder.linear_2"):
        assert transformer.dtype(f"{name}.weight") == "F32"
    assert transformer.shape("patch_embedding.weight") == (64, 4 * 1 * 2 * 2)
    assert transformer.dtype("blocks.0.ffn.net.2.weight") == "I8"


def test_keep_float_keeps_what_matches(folder):
    out = convert(folder, "--keep-float", "blocks.*.ffn.net.2", "--keep-float", "embeddings.word_embeddings")
    transformer, text = TensorFile(out / "transformer.safetensors"), TensorFile(out / "text_encoder.safetensors")
    assert transformer.dtype("blocks.1.ffn.net.2.weight") == "F32" and "blocks.1.ffn.net.2.scale" not in transformer
    assert transformer.dtype("blocks.1.ffn.net.0.proj.weight") == "I8"
    assert text.dtype("embeddings.word_embeddings.weight") == "F32"


def test_a_pattern_that_matches_nothing_is_refused(folder, capsys):
    folder.write()
    assert "matches no layer: blocks.9.*" in refused(folder, capsys, "--keep-float", "blocks.9.*")


def test_the_same_input_gives_the_same_bytes(folder):
    out = convert(folder)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert convert(folder) == out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert sorted(first) == sorted([*FILES, "model.json"])


def test_model_json_describes_every_file(folder):
    import hashlib

    out = convert(folder)
    model = json.loads((out / "model.json").read_text())
    assert model["format"] == 1 and model["family"] == "wan" and model["name"] == "golden-tiny"
    assert sorted(model["files"]) == FILES
    for name, identity in model["files"].items():
        data = (out / name).read_bytes()
        assert identity == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for section in ("text_encoder", "transformer", "autoencoder", "preview", "tokenizer"):
        assert model[section]["file"] in model["files"]


def test_short_forms_of_training_are_completed(folder):
    generation = folder.config["generation"]
    generation |= {"steps": 16, "guidance": 2.5, "max_frames": 9}
    del generation["frames"], folder.config["tokenizer"], folder.config["description"]
    folder.config["text"] = {"max_tokens": 10}
    model = json.loads((convert(folder) / "model.json").read_text())
    assert model["generation"]["steps"] == {"default": 16, "min": 1, "max": 50}
    assert model["generation"]["guidance"] == {"default": 2.5, "min": 1, "max": 10}
    assert model["generation"]["frames"] == {"min": 5, "max": 9, "step": 4}
    assert model["tokenizer"] == {"kind": "wordpiece", "lowercase": True, "max_tokens": 10, "file": "vocab.txt"}
    assert model["description"] and "max_frames" not in model["generation"] and "text" not in model


def test_an_encoder_numbered_from_its_pixel_unshuffle_is_renumbered(folder):
    expected = folder.weights["autoencoder.safetensors"]
    shifted = {}
    for name, values in expected.items():
        part, index, rest = name.split(".", 2)
        shifted[f"{part}.{int(index) + (part == 'encoder')}.{rest}"] = values
    folder.weights["autoencoder.safetensors"] = shifted
    loaded = load_checkpoint(folder.write()).weights["autoencoder.safetensors"]
    assert loaded.keys() == expected.keys()
    assert all(np.array_equal(loaded[name], expected[name]) for name in expected)


def test_the_poolers_weights_are_left_out(folder):
    folder.weights["text_encoder.safetensors"]["pooler.dense.weight"] = np.ones((64, 64), np.float32)
    assert "pooler.dense.weight" not in TensorFile(convert(folder) / "text_encoder.safetensors")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("file,name", [("transformer.safetensors", "blocks.0.attn1.to_q.weight"),
                                       ("autoencoder.safetensors", "decoder.1.bias")])
def test_nan_and_infinity_are_refused(folder, capsys, file, name, value):
    folder.weights[file][name].flat[3] = value
    folder.write()
    message = refused(folder, capsys)
    assert file in message and name in message and "NaN or infinite" in message


def change(folder, what):
    weights = folder.weights["transformer.safetensors"]
    if what == "missing":
        del weights["proj_out.bias"]
    elif what == "unknown":
        weights["blocks.0.extra"] = np.ones(1, np.float32)
    elif what == "shape":
        weights["proj_out.bias"] = np.ones(3, np.float32)
    elif what == "integers":
        weights["proj_out.bias"] = weights["proj_out.bias"].astype(np.int32)
    return folder


@pytest.mark.parametrize("what,message", [
    ("missing", "missing tensors: proj_out.bias"), ("unknown", "unknown tensors: blocks.0.extra"),
    ("shape", r"'proj_out.bias' is [3], the configuration wants [16]"), ("integers", "'proj_out.bias' is I32"),
])
def test_wrong_tensors_are_refused(folder, capsys, what, message):
    change(folder, what).write()
    assert message in refused(folder, capsys)


@pytest.mark.parametrize("file", FILES + ["config.json"])
def test_a_file_that_is_not_there_or_cut_is_refused(folder, capsys, file):
    path = folder.write() / file
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])
    assert file in refused(folder, capsys)
    if file != "text_encoder.safetensors":  # without it the installed text encoder is looked for
        path.unlink()
        assert file in refused(folder, capsys)


@pytest.mark.parametrize("section,name,value,message", [
    ("transformer", "attention_head_dim", 24, "transformer.attention_head_dim is 24"),
    ("transformer", "num_layers", 10**6, "transformer.num_layers"),
    ("transformer", "num_layers", "2", "transformer.num_layers is '2'"),
    ("transformer", "ffn_dim", True, "transformer.ffn_dim is True"),
    ("transformer", "qk_norm", "rms_norm", "transformer.qk_norm"),
    ("transformer", "image_dim", 1280, "image-conditioned"),
    ("transformer", "patch_size", [1, 2], "transformer.patch_size"),
    ("transformer", "text_dim", 384, "text_encoder.hidden_size"),
    ("transformer", "in_channels", 16, "latent_channels"),
    ("text_encoder", "vocab_size", 30522, "vocab_size is 30522"),
    ("text_encoder", "kind", "t5", "text_encoder.kind is 't5'"),
    ("text_encoder", "num_attention_heads", 3, "3 heads"),
    ("autoencoder", "kind", "vae", "autoencoder.kind"),
    ("autoencoder", "decoder", None, "autoencoder.decoder"),
    ("autoencoder", "decoder", {"widths": [1], "blocks": [], "space": [], "time": []}, "0 stages"),
    ("preview", "pixel_shuffle", 0, "preview.pixel_shuffle"),
    ("preview", "widths", "16", "preview.widths"),
    ("latents", "mean", [0.0], "latents.mean must be 4"),
    ("latents", "std", [1.0, 1.0, 0.0, 1.0], "latents.std"),
    ("generation", "prediction", "noise", "generation.prediction"),
    ("generation", "shift", 0, "generation.shift"),
    ("generation", "sizes", ..., "generation.sizes is missing"),
    ("tokenizer", "max_tokens", 100000, "tokenizer.max_tokens"),
])
def test_a_wrong_description_is_refused(folder, capsys, section, name, value, message):
    if value is ...:
        del folder.config[section][name]
    else:
        folder.config[section][name] = value
    folder.write()
    assert message in refused(folder, capsys)


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, ""])
def test_a_config_that_is_no_object_is_refused(folder, capsys, content):
    (folder.write() / "config.json").write_text(content)
    assert "config.json" in refused(folder, capsys)


def test_a_checkpoint_is_not_overwritten(folder, capsys):
    path = folder.write()
    before = (path / "transformer.safetensors").read_bytes()
    assert main(["convert", str(path), str(path)]) == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert (path / "transformer.safetensors").read_bytes() == before
