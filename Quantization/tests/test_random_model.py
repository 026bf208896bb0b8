import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from filoscope_quantization import random_model
from filoscope_quantization.__main__ import main
from filoscope_quantization.architecture import Kind, transformer_layers
from filoscope_quantization.inspection import inspect
from filoscope_quantization.layout import unblock_matrix
from filoscope_quantization.tensor_file import TensorFile

SMALL = {**random_model._WAN_1_3B, "num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 24, "freq_dim": 18,
         "ffn_dim": 300, "num_layers": 2}


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setitem(random_model.MODELS, "small", (SMALL, 24))
    assert main(["convert", "--random", "small", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def test_every_tensor_is_there_as_the_engine_wants_it(small):
    file = TensorFile(small / "transformer.safetensors")
    loaded = load_file(small / "transformer.safetensors")  # the official reader takes it too
    expected = set()
    for layer in transformer_layers(SMALL):
        if layer.kind is Kind.LINEAR:
            expected |= {f"{layer.name}.{part}" for part in ("weight", "scale", "sum", "bias")}
            values = unblock_matrix(loaded[f"{layer.name}.weight"], *layer.shape)
            assert values.min() >= -127 and values.std() > 20
            rows = layer.shape[0]
            assert np.array_equal(loaded[f"{layer.name}.sum"][:rows], values.sum(axis=1, dtype=np.int32))
            assert not loaded[f"{layer.name}.sum"][rows:].any() and not loaded[f"{layer.name}.scale"][rows:].any()
        else:
            expected |= {name for name, _ in layer.tensors()}
    assert set(file) == expected
    assert all(file.offset(name) % 64 == 0 for name in file)
    assert inspect(small / "transformer.safetensors", None, None) == []
    description = json.loads((small / "model.json").read_text())
    assert description["files"]["transformer.safetensors"]["bytes"] == file.size


def test_the_seed_decides(small, tmp_path):
    for seed, same in (("1", True), ("2", False)):
        assert main(["convert", "--random", "small", "--seed", seed, str(tmp_path / seed)]) == 0
        name = "transformer.safetensors"
        assert ((tmp_path / seed / name).read_bytes() == (small / name).read_bytes()) == same


def test_memory_is_that_of_one_tensor(monkeypatch, tmp_path):
    config = {**SMALL, "num_attention_heads": 8, "attention_head_dim": 64, "ffn_dim": 2048, "num_layers": 8}
    monkeypatch.setitem(random_model.MODELS, "several", (config, 24))
    tracemalloc.start()
    size = random_model.write_random_model("several", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 30_000_000 and peak < 16_000_000


def test_a_whole_model_has_what_the_daemon_wants(monkeypatch, tmp_path):
    monkeypatch.setitem(random_model.MODELS, "small", (SMALL, 24))
    like = Path(__file__).parents[2] / "Tests/Goldens/tiny/model"
    assert main(["convert", "--random", "small", "--like", str(like), str(tmp_path / "out")]) == 0
    assert main(["inspect", str(tmp_path / "out")]) == 0
    description = json.loads((tmp_path / "out/model.json").read_text())
    assert description["transformer"]["text_dim"] == description["text_encoder"]["hidden_size"]
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"model.json", *description["files"]}


@pytest.mark.parametrize("layers", [1, 5])
def test_the_number_of_layers_can_be_asked_for(small, tmp_path, layers):
    out = tmp_path / str(layers)
    assert main(["convert", "--random", "small", "--layers", str(layers), str(out)]) == 0
    assert json.loads((out / "model.json").read_text())["transformer"]["num_layers"] == layers
    blocks = {name.split(".")[1] for name in TensorFile(out / "transformer.safetensors") if name.startswith("blocks.")}
    assert blocks == {str(index) for index in range(layers)}


@pytest.mark.parametrize("layers", ["0", "129"])
def test_refuses_a_number_of_layers(tmp_path, capsys, layers):
    assert main(["convert", "--random", "nano-like", "--layers", layers, str(tmp_path / "out")]) == 1
    assert f"--layers: 1 to 128, not {layers}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--layers", "--like"])
def test_refuses_what_a_checkpoint_decides(tmp_path, capsys, option):
    assert main(["convert", option, "1", str(tmp_path), str(tmp_path / "out")]) == 1
    assert f"convert {option} is for --random" in capsys.readouterr().err


def test_refuses_what_it_does_not_know(tmp_path, capsys):
    assert main(["convert", "--random", "wan9", str(tmp_path / "out")]) == 1
    assert "no random model is called 'wan9'" in capsys.readouterr().err
    assert main(["convert", "--random", "nano-like", str(tmp_path), str(tmp_path / "out")]) == 1
    assert main(["convert", str(tmp_path / "out")]) == 1
