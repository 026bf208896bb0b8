import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from filoscope_quantization import QuantizationError
from filoscope_quantization.tensor_file import MAXIMUM_HEADER_BYTES, TensorFile, write_tensor_file

TENSORS = {
    "b": np.arange(5, dtype=np.float32), "a": np.arange(-3, 4, dtype=np.int8), "é": np.ones((2, 3), np.int32),
    "d": np.zeros((64,), np.uint8), "scalar-like": np.full((1,), 2.5, np.float32),
}


def raw(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_the_official_package_reads_what_is_written(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensor_file(path, TENSORS, {"key": "value"})
    stored = load_file(path)
    for name, values in TENSORS.items():
        assert np.array_equal(stored[name], values) and stored[name].dtype == values.dtype
    with safe_open(path, "np") as file:
        assert file.metadata() == {"filoscope.layout": "1", "key": "value"}


def test_every_tensor_is_aligned_and_a_filler_ends_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensor_file(path, TENSORS)
    file = TensorFile(path)
    assert list(file) == list(TENSORS), "order is kept, fillers are not shown"
    assert [file.offset(name) % 64 for name in file.entries if not name.startswith("_pad.")] == [0] * len(TENSORS)
    last = list(file.entries)[-1]
    assert last.startswith("_pad.") and file.byte_count(last) >= 64
    assert file.offset(last) + file.byte_count(last) == path.stat().st_size
    for name, values in TENSORS.items():
        assert np.array_equal(file.raw(name), values)


def test_the_same_tensors_give_the_same_bytes(tmp_path):
    for name in "ab":
        write_tensor_file(tmp_path / name, TENSORS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_half_precision_is_read_as_float32(tmp_path):
    path = raw(tmp_path / "a", {"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
                                "y": {"dtype": "F16", "shape": [1], "data_offsets": [4, 6]}},
               bytes([0x80, 0x3F, 0x20, 0xC0]) + np.float16(0.5).tobytes())
    assert TensorFile(path).float32("x").tolist() == [1, -2.5]
    assert TensorFile(path).float32("y").tolist() == [0.5]


def entry(**changes):
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize("header,data,message", [
    (b"{", b"", "not JSON"),
    (b"\xff\xfe", b"", "not JSON"),
    (b"[" * 100_000, b"", "not JSON"),
    (b"[1]", b"", "not a JSON object"),
    ({"__metadata__": 1}, b"", "__metadata__"),
    ({"x": 1}, b"", "lacks dtype"),
    ({"x": {"dtype": "F32", "shape": [2]}}, b"", "lacks dtype"),
    (entry(dtype="F99"), bytes(8), "unknown dtype"),
    (entry(dtype=["F32"]), bytes(8), "unknown dtype"),
    (entry(shape=[3]), bytes(8), "is not 8 bytes"),
    (entry(shape=[-2]), bytes(8), "non-negative"),
    (entry(shape=["2"]), bytes(8), "non-negative"),
    (entry(shape=2), bytes(8), "non-negative"),
    (entry(shape=[True, 2]), bytes(8), "non-negative"),
    (entry(shape=[1 << 47, 1 << 47]), bytes(8), "is not 8 bytes"),
    (entry(shape=[1 << 60]), bytes(8), "non-negative"),
    (entry(data_offsets=[0, 1 << 70]), bytes(8), "non-negative"),
    (entry(data_offsets=[8, 0]), bytes(8), "is not -8 bytes"),
    (entry(data_offsets=[0, 4, 8]), bytes(8), "lacks dtype"),
    (entry(), bytes(7), "truncated"),
    ({**entry(), "y": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12), "overlaps"),
])
def test_hostile_headers_are_refused(tmp_path, header, data, message):
    path = raw(tmp_path / "hostile.safetensors", header, data)
    with pytest.raises(QuantizationError, match=message) as error:
        TensorFile(path)
    assert "hostile.safetensors" in str(error.value)


@pytest.mark.parametrize("content,message", [
    (b"", "too few"), (b"\x01\x02", "too few"),
    ((1 << 63).to_bytes(8, "little"), "header of"),
    ((MAXIMUM_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "at most"),
    ((100).to_bytes(8, "little") + b"{}", "truncated"),
])
def test_hostile_lengths_are_refused(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(QuantizationError, match=message):
        TensorFile(path)


def test_every_truncation_of_a_file_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensor_file(path, {"x": np.ones(3, np.float32)})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(QuantizationError):
            TensorFile(path)


def test_missing_files_and_tensors_are_named(tmp_path):
    with pytest.raises(QuantizationError, match="nothing.safetensors"):
        TensorFile(tmp_path / "nothing.safetensors")
    save_file({"x": np.ones(1, np.float32)}, tmp_path / "a")
    with pytest.raises(QuantizationError, match="tensor 'y' is missing"):
        TensorFile(tmp_path / "a").raw("y")


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(QuantizationError, match="'x'"):
        write_tensor_file(tmp_path / "a", {"x": np.ones(1, np.float64)})
    assert list(tmp_path.iterdir()) == []
