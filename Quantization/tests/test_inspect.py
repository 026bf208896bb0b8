import numpy as np
import pytest
from safetensors.numpy import save_file

from filoscope_quantization.__main__ import main
from filoscope_quantization.tensor_file import TensorFile


@pytest.fixture
def model(folder):
    out = folder.path.parent / "model"
    assert main(["convert", str(folder.write()), str(out)]) == 0
    return out


def test_a_converted_folder_has_no_faults(folder, model, capsys):
    capsys.readouterr()
    assert main(["inspect", str(model), "--against", str(folder.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.endswith(" blocks.0.attn1.to_q.weight"))
    _, alignment, size, dtype, shape, error, worst, _ = line.split()
    assert int(alignment) >= 64 and (size, dtype, shape) == ("4096", "I8", "8x8x8x8")
    assert 0.001 < float(error) < 0.01 and float(error) <= float(worst)
    assert not any("_pad." in line for line in lines)


def test_a_file_of_anyone_is_listed(tmp_path, capsys):
    save_file({"x": np.ones((2, 3), np.float32)}, tmp_path / "any.safetensors")
    assert main(["inspect", str(tmp_path / "any.safetensors")]) == 0
    assert "2x3" in capsys.readouterr().out


def patch(path, name, values):
    file = TensorFile(path)
    offset = file.offset(name)
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(np.asarray(values, file.raw(name).dtype).tobytes())


@pytest.mark.parametrize("name,value,fault", [
    ("blocks.0.attn1.to_q.weight", -128, "has values of -128"),
    ("blocks.0.attn1.to_q.sum", 10**6, "is not the row sums"),
    ("blocks.0.attn1.to_q.scale", np.nan, "NaN or infinite"),
    ("proj_out.bias", 0, "is not the file whose size and sha256"),
])
def test_faults_are_found(model, capsys, name, value, fault):
    patch(model / "transformer.safetensors", name, [value])
    assert main(["inspect", str(model)]) == 1
    assert fault in capsys.readouterr().out


def test_a_misaligned_tensor_is_a_fault(tmp_path, capsys):
    save_file({"x": np.ones(3, np.float32), "y": np.ones(3, np.float32)}, tmp_path / "a.safetensors",
              metadata={"filoscope.layout": "1"})
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 1
    assert "not a multiple of 64" in capsys.readouterr().out


def test_what_cannot_be_read_is_one_line(tmp_path, capsys):
    assert main(["inspect", str(tmp_path)]) == 1
    (tmp_path / "x.safetensors").write_bytes(b"garbage!" * 3)
    assert main(["inspect", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("error: ") == 2


def test_other_weights_are_not_taken_for_the_original(folder, model, capsys):
    folder.weights["transformer.safetensors"]["proj_out.bias"][0] += 1
    assert main(["inspect", str(model), "--against", str(folder.write())]) == 1
    assert "'proj_out.bias' differs" in capsys.readouterr().err
