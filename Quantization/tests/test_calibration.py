"""int8 convolutions: what calibration finds, what convert writes, and the emulation against plain loops."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from filoscope_quantization import calibration, layout
from filoscope_quantization.__main__ import main
from filoscope_quantization.architecture import Kind, networks
from filoscope_quantization.model_folder import load_checkpoint, load_model_folder
from filoscope_quantization.tensor_file import TensorFile

FILES = ("autoencoder.safetensors", "preview.safetensors")


def calibrated(folder, clips=2):
    """Writes the folder with a calibration file."""
    channels = folder.config["autoencoder"]["latent_channels"]
    latents = np.random.default_rng(5).standard_normal((clips, channels, 2, 3, 4)).astype(np.float16)
    path = folder.write()
    save_file({"latents": latents}, path / "calibration.safetensors")
    return path


def convert(folder, *options):
    out = folder.path.parent / "model"
    assert main(["convert", str(calibrated(folder)), str(out), *options]) == 0
    return out


def convolutions(folder):
    return [(file, layer) for file, layers in networks(folder.checkpoint.description).items()
            for layer in layers if layer.kind is Kind.CONVOLUTION]


def test_convolutions_become_int8_as_the_engine_wants_them(each_folder, capsys):
    out = convert(each_folder, "--minimum", "0")
    output = capsys.readouterr().out
    assert all(f"{part}: " in output for part in ("decoder", "encoder", "preview")) and "stays float32" not in output
    model = load_model_folder(out)
    for file, layer in convolutions(each_folder):
        stored, name = TensorFile(out / file), layer.name
        outs, count, kernel, _ = layer.shape
        weight = stored.raw(f"{name}.weight")
        wide = -(-(count - layer.past) // 16) * 16 + -(-layer.past // 16) * 16
        assert stored.dtype(f"{name}.weight") == "I8" and weight.min() >= -127
        assert weight.shape == (-(-outs // 16) * 2, kernel, kernel, wide // 8, 8, 8)
        assert np.array_equal(stored.raw(f"{name}.sum"), weight.sum(axis=(1, 2, 3, 5), dtype=np.int32).reshape(-1))
        scale, zero = stored.raw(f"{name}.input")
        assert 0 < scale < np.inf and zero in range(256)
        if ".conv.2" in name or ".conv.4" in name:
            assert zero == 0, "behind a ReLU all bytes are for what is above"
        original = each_folder.weights[file][f"{name}.weight"]
        back = model.weights[file][f"{name}.weight"]
        assert back.shape == original.shape and np.abs(back - original).max() <= np.abs(original).max() / 250
    assert main(["inspect", str(out), "--against", str(each_folder.path)]) == 0


def test_without_calibration_or_as_float_they_stay_float32(folder, capsys):
    out = folder.path.parent / "model"
    assert main(["convert", str(folder.write()), str(out)]) == 0
    assert "convolutions stay float32" in capsys.readouterr().out
    before = {file: (out / file).read_bytes() for file in FILES}
    convert(folder, "--float")
    assert {file: (out / file).read_bytes() for file in FILES} == before


def test_the_same_clips_give_the_same_bytes(folder):
    first = {file: (convert(folder, "--minimum", "0") / file).read_bytes() for file in FILES}
    assert {file: (convert(folder, "--minimum", "0") / file).read_bytes() for file in FILES} == first


def test_what_costs_most_goes_back_to_float32(folder, capsys):
    out = convert(folder, "--minimum", "99")
    lines = [line for line in capsys.readouterr().out.splitlines() if "stays float32" in line]
    assert len(lines) == len(convolutions(folder)), "99 dB is what float32 alone has"
    worst = [float(line.split("worst ")[1].split()[0]) for line in lines if line.startswith("decoder")]
    assert worst[-1] == 99
    assert TensorFile(out / FILES[0]).dtype("decoder.1.weight") == "F32"
    some = convert(folder, "--minimum", str(worst[1] - 0.01))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("decoder") and "stays" in line]
    assert 1 <= len(lines) <= 2
    kept = lines[0].split()[1]
    assert TensorFile(some / FILES[0]).dtype(f"{kept}.weight") == "F32"


def test_keep_float_keeps_convolutions(folder):
    out = convert(folder, "--minimum", "0", "--keep-float", "decoder.1", "--keep-float", "conv.*")
    autoencoder, preview = (TensorFile(out / file) for file in FILES)
    assert autoencoder.dtype("decoder.1.weight") == "F32" and autoencoder.dtype("decoder.3.conv.0.weight") == "I8"
    assert not any(preview.dtype(name) == "I8" for name in preview)


@pytest.mark.parametrize("latents,message", [
    (np.zeros((1, 4, 2, 3, 4), np.float32), "must be [2 or more clips, 4, T, H, W]"),
    (np.zeros((2, 5, 2, 3, 4), np.float32), "'latents' is [2, 5, 2, 3, 4]"),
    (np.zeros((2, 4, 2, 3), np.float32), "'latents' is [2, 4, 2, 3]"),
    (np.full((2, 4, 2, 3, 4), np.nan, np.float32), "NaN or infinite"),
    (np.zeros((2, 4, 2, 3, 4), np.int32), "floating point is wanted"),
])
def test_other_latents_are_refused(folder, capsys, latents, message):
    path, out = folder.write(), folder.path.parent / "model"
    save_file({"latents": latents}, path / "calibration.safetensors")
    assert main(["convert", str(path), str(out)]) == 1
    assert message in capsys.readouterr().err
    assert main(["convert", str(path), str(out), "--calibration", str(path / "nothing")]) == 1


def test_faults_of_int8_convolutions_are_found(folder, capsys):
    out = convert(folder, "--minimum", "0")
    path = out / "autoencoder.safetensors"
    original = path.read_bytes()
    file = TensorFile(path)
    for name, value, fault in (("decoder.1.input", np.float32(0), "not a scale above 0"),
                               ("decoder.1.sum", np.int32(10**6), "is not the row sums"),
                               ("decoder.1.weight", np.int8(-128), "has values of -128")):
        offset = file.offset(name)
        path.write_bytes(original[:offset] + value.tobytes() + original[offset + value.nbytes:])
        assert main(["inspect", str(out)]) == 1
        assert fault in capsys.readouterr().out


@pytest.mark.parametrize("out,count,past,kernel", [(1, 1, 0, 1), (17, 20, 0, 3), (9, 24, 12, 3), (16, 40, 20, 1)])
def test_blocks_hold_every_weight_where_the_kernels_look(out, count, past, kernel):
    weight = np.random.default_rng(2).standard_normal((out, count, kernel, kernel)).astype(np.float32)
    tensors = layout.convolution_int8("c", weight, np.ones(out, np.float32), past, (0.5, 3))
    blocks, first = tensors["c.weight"], count - past
    values, _ = layout.quantize_rows(weight.reshape(out, -1))
    values = values.reshape(weight.shape)
    for o in range(out):
        for i in range(count):
            at = i if i < first else -(-first // 16) * 16 + i - first
            assert np.array_equal(blocks[o // 8, :, :, at // 8, o % 8, at % 8], values[o, i])
    assert np.abs(blocks.astype(int)).sum() == np.abs(values.astype(int)).sum(), "padding is not zero"
    assert np.array_equal(layout.unblock_convolution(blocks, weight.shape, past), values)
    assert tensors["c.input"].tolist() == [0.5, 3] and tensors["c.bias"].shape == tensors["c.scale"].shape


def test_bytes_reach_from_end_to_end_and_hold_0():
    for low, high in ((0, 5), (-1, 3), (-4, 0), (2, 3), (0, 0)):
        scale, zero = calibration.quantization(low, high)
        assert scale > 0 and 0 <= zero <= 255
        assert -zero * scale <= min(low, 0) + scale and (255 - zero) * scale >= max(high, 0) - scale
    samples = np.append(np.random.default_rng(0).standard_normal(100_000), [-7, 7]).astype(np.float32)
    scale, zero = calibration.least_error(samples, -7, 7)
    assert scale < 0.85 * calibration.quantization(-7, 7)[0], "two values should not widen a hundred thousand steps"
    assert scale > 7 / 255 and zero in (127, 128)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_corrected_bias_takes_the_mean_error_away(stride):
    generator = np.random.default_rng(8)
    weights = {"a.weight": generator.standard_normal((5, 6, 3, 3)).astype(np.float32)}
    x = (4 + 0.1 * generator.standard_normal((2, 7, 5, 6))).astype(np.float32)
    x[..., 2] = 1.013  # a constant that falls between two bytes
    quantization = (5 / 255, 0)
    errors = calibration.MeanError(weights, {"a": quantization})
    exact = errors("a", calibration.Map(x), stride=stride).values
    means = []
    for biases in ({}, {"a": errors.bias("a")}):
        run = calibration.Runner(weights, {"a": quantization}, biases)
        means.append((exact - run("a", run.take("a", x), stride=stride).values).mean(axis=(0, 1, 2)))
    assert np.abs(means[0]).max() > 1e-2 and np.abs(means[1]).max() < 1e-4


def test_the_emulated_layer_is_the_integers_sum():
    generator = np.random.default_rng(4)
    weights = {"a.weight": generator.standard_normal((5, 6, 3, 3)).astype(np.float32),
               "a.bias": generator.standard_normal(5).astype(np.float32)}
    run = calibration.Runner(weights, {"a": (0.02, 100), "b": (0.05, 0)})
    x = calibration.Map(generator.integers(0, 256, (1, 4, 5, 3), np.uint8), (0.02, 100))
    past = calibration.Map(generator.integers(0, 256, (1, 4, 5, 3), np.uint8), (0.02, 100))
    out = run("a", x, "b", past=past, relu=True, stride=2)
    rows, scale = layout.quantize_rows(weights["a.weight"].reshape(5, -1))
    both = np.concatenate([x.values, past.values], axis=3)[0].astype(int) - 100
    assert out.values.shape == (1, 2, 3, 5) and out.quantization == (0.05, 0)
    for y in range(2):
        for column in range(3):
            for o in range(5):
                total = sum(int(rows.reshape(5, 6, 3, 3)[o, i, ky, kx]) * int(both[2 * y + ky - 1, 2 * column + kx - 1, i])
                            for i in range(6) for ky in range(3) for kx in range(3)
                            if 0 <= 2 * y + ky - 1 < 4 and 0 <= 2 * column + kx - 1 < 5)
                exact = (total * 0.02 * float(scale[o]) + float(weights["a.bias"][o])) / 0.05
                assert abs(min(max(exact, 0), 255) - int(out.values[0, y, column, o])) <= 0.5001


def test_the_float_graph_is_the_references(each_folder):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    from filoscope_quantization.golden import shuffle, unshuffle
    from filoscope_quantization.reference_networks import ReferenceModel

    checkpoint = load_checkpoint(each_folder.write())
    reference = ReferenceModel(checkpoint)
    config = checkpoint.description["autoencoder"]
    latents = np.random.default_rng(6).standard_normal((config["latent_channels"], 2, 4, 6)).astype(np.float32)
    run = calibration.Runner(checkpoint.weights[FILES[0]])
    frames = shuffle(calibration.decode(config, latents, run), config["patch_size"])
    with torch.no_grad():
        expected = reference.autoencoder.decode(torch.from_numpy(latents))
        encoded = reference.autoencoder.encode(expected)
        drawn = reference.preview.decode(torch.from_numpy(latents))
    assert np.abs(frames - expected.numpy()).max() < 1e-4
    pixels = unshuffle(expected.numpy(), config["patch_size"])
    assert np.abs(calibration.encode(config, pixels, run) - encoded.numpy()).max() < 1e-4 * max(1, encoded.abs().max())
    preview = checkpoint.description["preview"]
    run = calibration.Runner(checkpoint.weights[FILES[1]])
    pictures = shuffle(calibration.preview(preview, latents, run), preview["pixel_shuffle"])
    assert np.abs(pictures - drawn.numpy()).max() < 1e-4
