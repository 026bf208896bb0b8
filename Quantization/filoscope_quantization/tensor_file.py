"""safetensors files as the engine maps them: every tensor 64-byte aligned, the data ended by a filler.

The files stay valid for the official safetensors package, which wants tensors without gaps: the gaps are tensors
themselves, named `_pad.N`.
"""

import json
import os
from pathlib import Path

import numpy as np

from . import QuantizationError

ALIGNMENT = 64
LAYOUT_VERSION = "1"
# The engine's own limit. A header is parsed whole, so a hostile length must not reach the JSON parser.
MAXIMUM_HEADER_BYTES = 16 << 20

_DTYPES = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}
_WRITABLE = {np.dtype("<f4"): "F32", np.dtype("i1"): "I8", np.dtype("<i4"): "I32", np.dtype("u1"): "U8"}


class TensorFile:
    """A safetensors file, header checked, data mapped. Iterates over tensor names in file order, fillers left out."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.size = self.path.stat().st_size
            with open(self.path, "rb") as file:
                prefix = file.read(8)
                if len(prefix) < 8:
                    raise QuantizationError(f"{path}: {self.size} bytes are too few for a safetensors file")
                length = int.from_bytes(prefix, "little")
                if length > MAXIMUM_HEADER_BYTES:
                    raise QuantizationError(f"{path}: header of {length} bytes, at most {MAXIMUM_HEADER_BYTES} allowed")
                if 8 + length > self.size:
                    raise QuantizationError(f"{path}: truncated: header of {length} bytes in a file of {self.size}")
                text = file.read(length)
        except OSError as error:
            raise QuantizationError(f"{path}: {error.strerror}") from error
        try:
            header = json.loads(text.decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise QuantizationError(f"{path}: header is not JSON: {error}") from error
        if not isinstance(header, dict):
            raise QuantizationError(f"{path}: header is not a JSON object")
        self.metadata = header.pop("__metadata__", {})
        if not isinstance(self.metadata, dict):
            raise QuantizationError(f"{path}: __metadata__ is not an object")
        self.data_begin = 8 + length
        self.entries = {name: self._checked(name, entry) for name, entry in header.items()}
        self.entries = dict(sorted(self.entries.items(), key=lambda item: (item[1][2], item[1][3])))
        end = 0
        for name, (_, _, begin, stop) in self.entries.items():
            if begin < end:
                raise QuantizationError(f"{path}: tensor '{name}' overlaps the one before it at byte {begin}")
            end = stop
        self._bytes = np.memmap(self.path, mode="r") if self.size > self.data_begin else np.empty(0, np.uint8)

    def _checked(self, name, entry):
        where = f"{self.path}: tensor '{name}'"
        try:
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        except (TypeError, KeyError, ValueError) as error:
            raise QuantizationError(f"{where} lacks dtype, shape or data_offsets") from error
        integers = [begin, end, *(shape if isinstance(shape, list) else [None])]
        if any(type(value) is not int or value < 0 or value >= 1 << 48 for value in integers) or len(shape) > 8:
            raise QuantizationError(f"{where} has a shape or offset that is not a small non-negative integer")
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise QuantizationError(f"{where} has the unknown dtype {dtype!r}")
        count = 1
        for extent in shape:
            count *= extent
        if end - begin != count * _DTYPES[dtype].itemsize:
            raise QuantizationError(f"{where}: {dtype} {shape} is not {end - begin} bytes")
        if self.data_begin + end > self.size:
            raise QuantizationError(f"{where} ends at byte {self.data_begin + end}, truncated file has {self.size}")
        return dtype, tuple(shape), begin, end

    def __iter__(self):
        return (name for name in self.entries if not name.startswith("_pad."))

    def __contains__(self, name):
        return name in self.entries

    def dtype(self, name):
        return self._entry(name)[0]

    def shape(self, name):
        return self._entry(name)[1]

    def offset(self, name):
        """Of the tensor's first byte in the file."""
        return self.data_begin + self._entry(name)[2]

    def byte_count(self, name):
        _, _, begin, end = self._entry(name)
        return end - begin

    def _entry(self, name):
        if name not in self.entries:
            raise QuantizationError(f"{self.path}: tensor '{name}' is missing")
        return self.entries[name]

    def raw(self, name):
        """The tensor as stored, mapped; BF16 as uint16."""
        dtype, shape, begin, end = self._entry(name)
        data = self._bytes[self.data_begin + begin:self.data_begin + end]
        return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)

    def float32(self, name):
        """A floating-point tensor as float32; refuses NaN and infinity."""
        dtype, values = self.dtype(name), self.raw(name)
        if dtype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        elif dtype not in ("F16", "F32", "F64"):
            raise QuantizationError(f"{self.path}: tensor '{name}' is {dtype}, floating point is wanted")
        values = np.ascontiguousarray(values, np.float32)
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise QuantizationError(f"{self.path}: tensor '{name}' has {bad} values that are NaN or infinite")
        return values


def write_tensor_file(path, tensors, metadata=None):
    """Writes `tensors` (name to array: float32, int8, int32 or uint8) in the order given; the same input gives the same
    bytes. The file appears under its name only when it is whole."""
    entries, chunks, position, fillers = {}, [], 0, 0

    def add(name, values):
        nonlocal position
        data = values.tobytes()
        entries[name] = {
            "dtype": _WRITABLE[values.dtype], "shape": list(values.shape),
            "data_offsets": [position, position + len(data)],
        }
        chunks.append(data)
        position += len(data)

    def fill(count):
        nonlocal fillers
        add(f"_pad.{fillers}", np.zeros(count, np.int8))
        fillers += 1

    for name, values in tensors.items():
        values = np.ascontiguousarray(values).reshape(np.shape(values))
        if values.dtype not in _WRITABLE or values.size == 0:
            raise QuantizationError(f"{path}: cannot write tensor '{name}' of {values.dtype} {values.shape}")
        add(name, values)
        if position % ALIGNMENT:
            fill(ALIGNMENT - position % ALIGNMENT)
    # Kernels may read up to 64 bytes past the end of a matrix.
    fill(ALIGNMENT)

    header = {"__metadata__": {"filoscope.layout": LAYOUT_VERSION, **(metadata or {})}, **entries}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > MAXIMUM_HEADER_BYTES:
        raise QuantizationError(f"{path}: header of {len(text)} bytes, at most {MAXIMUM_HEADER_BYTES} allowed")
    write_atomically(path, [len(text).to_bytes(8, "little"), text, *chunks])


def write_atomically(path, chunks):
    """Writes byte strings under a temporary name, then renames."""
    temporary = Path(f"{path}.partial")
    with open(temporary, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
    os.replace(temporary, path)
